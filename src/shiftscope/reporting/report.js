// Appended to app.js in a page: mounts its views.

const MOUNTS = {explorer: mountExplorer, confusion: mountConfusion, curves: (root, {curves}) =>
  mountCurves(root, curves)};

/** Mount the views of a page: each element with `data-view` shows the JSON of the script with the same `data-of`.
 *
 * Sections with a view get the class "is-live", which hides their static figures. */
async function startPage(page) {
  const ready = [...page.querySelectorAll("[data-view]")].map(async (root) => {
    const source = page.querySelector(`script[data-of="${root.dataset.view}"]`);
    const view = MOUNTS[root.dataset.view](root, JSON.parse(source.textContent));
    await view.ready;
    root.closest("section")?.classList.add("is-live");
  });
  await Promise.all(ready);
  page.documentElement.dataset.views = "ready";
  performance.mark("shiftscope-ready");
}

startPage(document);
