// A table wider than its place scrolls by itself: within reach of the keyboard, and faded at the
// edge where more of it is hidden (deepaug.css).
const place = ".pst-scrollable-table-container";

for (const table of document.querySelectorAll(".bd-article table")) {
  if (table.closest(place)) continue;
  const container = document.createElement("div");
  container.className = place.slice(1);
  table.replaceWith(container);
  container.append(table);
}

const tell = container => {
  const hidden = container.scrollWidth - container.clientWidth;
  const wide = hidden > 1;
  container.classList.toggle("hides-left", wide && container.scrollLeft > 1);
  container.classList.toggle("hides-right", wide && hidden - container.scrollLeft > 1);
  container.tabIndex = wide ? 0 : -1;
  for (const [name, value] of [["role", "group"], ["aria-label", "Table, scrolls sideways"]])
    wide ? container.setAttribute(name, value) : container.removeAttribute(name);
};
// Observed too: what unfolds, and a table that changes within its place.
const sizes = new ResizeObserver(entries => {
  for (const {target} of entries) tell(target.closest(place) ?? target);
});
for (const container of document.querySelectorAll(`.bd-article ${place}`)) {
  container.addEventListener("scroll", () => tell(container), {passive: true});
  sizes.observe(container);
  for (const table of container.children) sizes.observe(table);
}

// Entries of the bibliography stand in a list: the role that Docutils gives them is not allowed there.
for (const entry of document.querySelectorAll("[role=list] > [role=doc-biblioentry]"))
  entry.setAttribute("role", "listitem");
