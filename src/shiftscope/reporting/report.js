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

/** Sort the rows of a table by a column when its heading is clicked; twice: in the other order. */
function makeSortable(table) {
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [value(one, column), value(other, column)];
        return a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : String(a).localeCompare(String(b));
      });
      table.tBodies[0].append(...down ? rows.reverse() : rows);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
