// Says so where the page does not come, for a part of it got lost on the way or the service takes long. Nothing is imported here, so
// that it runs all the same.

const LONG = 10_000;

setTimeout(() => {
  const starting = document.getElementById("starting");
  if (!starting.hidden) starting.textContent = "This takes long. If nothing comes, reload the page.";
}, LONG);
