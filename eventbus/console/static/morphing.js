// Morphing: an element gets new content, and whatever is in both stays the same node: with its focus, its ticks, what is typed
// and selected in it, how far it is scrolled, and whether it is open. Rows are known by where they lead, all else by its place.
"use strict";

/** Give *element* the content of *made*, which is used up. */
function morph(element, made) {
  const known = new Map();
  for (const child of element.children) if (nameOf(child)) known.set(nameOf(child), child);
  const wanted = new Set([...made.children].map(nameOf));
  // Before anything else, so that what stays need not be moved, which would cost it the focus.
  for (const [name, child] of known) if (!wanted.has(name)) child.remove();
  let place = element.firstChild;
  for (const next of [...made.childNodes]) {
    const name = nameOf(next);
    const kept = name ? known.get(name) : nameOf(place) ? null : place;
    known.delete(name);
    if (kept?.nodeName !== next.nodeName) { element.insertBefore(next, place); continue; }
    if (kept !== place) element.insertBefore(kept, place);
    place = kept.nextSibling;
    become(kept, next);
  }
  while (place) { const after = place.nextSibling; place.remove(); place = after; }
}

function become(kept, next) {
  if (kept.nodeType !== Node.ELEMENT_NODE) {
    if (kept.data !== next.data) kept.data = next.data;
    return;
  }
  // Whether something is open is its reader's affair.
  const names = new Set([...kept.getAttributeNames(), ...next.getAttributeNames()].filter((name) => name !== "open"));
  for (const name of names) {
    if (!next.hasAttribute(name)) kept.removeAttribute(name);
    else if (kept.getAttribute(name) !== next.getAttribute(name)) kept.setAttribute(name, next.getAttribute(name));
  }
  morph(kept, next);
}

/** What a node is known by among its neighbours; most are not. */
function nameOf(node) {
  if (node?.nodeType !== Node.ELEMENT_NODE) return null;
  // Of a form, .id may be a field of that name.
  return node.getAttribute("id") || (node.dataset.row === undefined ? null : node.querySelector("a")?.getAttribute("href") ?? null);
}
