// A table or an equation wider than its place scrolls by itself: within reach of the keyboard, and
// faded at the edge where more of it is hidden (deepaug.css).
const places = ".bd-article :is(.pst-scrollable-table-container, .equation)";

for (const table of document.querySelectorAll(".bd-article table")) {
  if (table.closest(places)) continue;
  const place = document.createElement("div");
  place.className = "pst-scrollable-table-container";
  table.replaceWith(place);
  place.append(table);
}

const tell = place => {
  const hidden = place.scrollWidth - place.clientWidth;
  const wide = hidden > 1;
  place.classList.toggle("hides-left", wide && place.scrollLeft > 1);
  place.classList.toggle("hides-right", wide && hidden - place.scrollLeft > 1);
  place.tabIndex = wide ? 0 : -1;
  const what = place.matches(".equation") ? "Equation" : "Table";
  for (const [name, value] of [["role", "group"], ["aria-label", `${what}, scrolls sideways`]])
    wide ? place.setAttribute(name, value) : place.removeAttribute(name);
};
// Observed too: what unfolds, and a table that changes within its place.
const sizes = new ResizeObserver(entries => {
  for (const {target} of entries) tell(target.closest(places));
});
for (const place of document.querySelectorAll(places)) {
  place.addEventListener("scroll", () => tell(place), {passive: true});
  sizes.observe(place);
  for (const table of place.children) sizes.observe(table);
}

// Entries of the bibliography stand in a list: the role that Docutils gives them is not allowed there.
for (const entry of document.querySelectorAll("[role=list] > [role=doc-biblioentry]"))
  entry.setAttribute("role", "listitem");
