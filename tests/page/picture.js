// Takes the picture of the README: node picture.js FILE

import { resolve } from 'node:path';

import { credentials, startWorld } from './support/world.js';

const world = await startWorld();
try {
  const { page } = await world.open({ width: 1040, height: 700 });
  const panel = page.getByRole('article');
  await page.goto('/');
  await credentials(page, 'Sign up', 'ada@example.com');
  for (const [name, value] of [['orders', 128], ['tickets', 40961], ['invoices', 4710]]) {
    await page.getByLabel('Name of a new counter').fill(name);
    await page.getByRole('button', { name: 'Make' }).click();
    await panel.getByRole('heading', { name }).waitFor();
    await panel.getByLabel('New value').fill(String(value));
    await panel.getByRole('button', { name: 'Set', exact: true }).click();
    await panel.getByText(`Set to ${value}`).waitFor();
  }
  await panel.getByRole('button', { name: 'Take a number' }).click();
  await panel.getByText('4711 is yours.').waitFor();
  await panel.getByRole('button', { name: 'Take 10 numbers' }).click();
  await panel.getByText('4712 to 4721 are yours.').waitFor();
  await page.evaluate(() => document.activeElement.blur());
  await page.mouse.move(0, 0);
  // Not the port of a test.
  await page.evaluate((origin) => {
    const line = document.getElementById('curl');
    line.textContent = line.textContent.replace(origin, 'http://127.0.0.1:8080');
    document.getElementById('make-message').replaceChildren();
    scrollTo(0, 0);
  }, world.url);
  // Down to the curl line and its buttons.
  const { y, height } = await page.locator('#copy-curl').boundingBox();
  const clip = { x: 0, y: 0, width: 1040, height: Math.round(y + height + 8) };
  await page.screenshot({ path: resolve(process.argv[2]), animations: 'disabled', fullPage: true, clip });
} finally {
  await world.stop();
}
