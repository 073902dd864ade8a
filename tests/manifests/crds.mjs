// Holds operators' objects, a JSON list on standard input, against their schemas and prints every fault. Run in .tools/crds.
//
// Each is checked twice: by TypeScript, which knows every field and so finds those that do not exist, and by the validator that was made of
// the schema, which knows patterns and bounds.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const PACKAGES = {
  'monitoring.coreos.com': 'prometheus-operator',
  'keda.sh': 'keda',
  'gateway.networking.k8s.io': 'gateway-api',
  'external-secrets.io': 'external-secrets',
};
const here = process.cwd();
const { resolve } = createRequire(join(here, 'package.json'));
const objects = JSON.parse(readFileSync(0, 'utf8'));
const faults = [];

const modules = objects.map(({ apiVersion, kind }) => {
  const [group, version] = apiVersion.split('/');
  if (!PACKAGES[group]) throw new Error(`nobody has said where the schema of ${apiVersion} is`);
  return `@kubernetes-models/${PACKAGES[group]}/${group}/${version}/${kind}`;
});
const lines = objects.map(
  (object, at) => `import type { I${object.kind} as T${at} } from '${modules[at]}';\nexport const o${at}: T${at} = ${JSON.stringify(object)};\n`,
);
writeFileSync(join(here, 'check.ts'), lines.join(''));
try {
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext', '--moduleResolution', 'bundler'];
  execFileSync(process.execPath, [resolve('typescript/bin/tsc'), ...options, 'check.ts'], { cwd: here, encoding: 'utf8' });
} catch (error) {
  faults.push(error.stdout || error.message);
}
// From a file beside the packages, for that is where imports are looked up.
writeFileSync(join(here, 'check.mjs'), objects.map(({ kind }, at) => `export { ${kind} as o${at} } from '${modules[at]}';\n`).join(''));
const models = await import(pathToFileURL(join(here, 'check.mjs')).href);
for (const [at, object] of objects.entries()) {
  try {
    new models[`o${at}`](object).validate();
  } catch (error) {
    faults.push(`${object.kind}/${object.metadata.name}: ${error.message}`);
  }
}
console.log(faults.join('\n'));
process.exit(faults.length ? 1 : 0);
