// What moves on the pages. They work without it: see package web.
"use strict";

// Times are the gate's as they come. Here they become the viewer's; the gate's
// stay in the title.
const shapes = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  moment: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  seconds: { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
};
const clocks = {};
for (const kind in shapes) clocks[kind] = new Intl.DateTimeFormat("sv-SE", shapes[kind]);

function localTimes(root) {
  for (const t of root.querySelectorAll("time[data-as]")) {
    const at = new Date(t.dateTime);
    if (!isNaN(at) && clocks[t.dataset.as]) t.textContent = clocks[t.dataset.as].format(at);
  }
}

// morph makes one element like another and keeps what is the same: what has
// the focus, what is selected and what lies under the mouse stays there.
function morph(from, to) {
  if (from.isEqualNode(to)) return;
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || from.id !== to.id) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
    return;
  }
  for (const a of [...from.attributes]) if (!to.hasAttribute(a.name)) from.removeAttribute(a.name);
  for (const a of to.attributes) if (from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
  const known = new Map();
  for (const child of from.children) if (child.id) known.set(child.id, child);
  const hovered = from.nodeName === "TBODY" && from.matches(":hover") && from.closest(".grows-down");
  let at = from.firstChild;
  for (const child of [...to.childNodes]) {
    const same = child.id && known.get(child.id);
    if (same) {
      known.delete(child.id);
      if (same === at) at = at.nextSibling;
      else if (!hovered) from.insertBefore(same, at);
      morph(same, child);
    } else if (at && !at.id && !child.id) {
      const next = at.nextSibling;
      morph(at, child);
      at = next;
    } else {
      from.insertBefore(child, hovered ? null : at);
    }
  }
  // What is gone would let what is below it jump under the mouse: it stays,
  // dead, until the mouse has left.
  for (const gone of known.values()) {
    if (!hovered) {
      gone.remove();
      continue;
    }
    gone.classList.add("gone");
    gone.inert = true;
    from.addEventListener("mouseleave", () => gone.remove(), { once: true });
  }
  if (hovered) return;
  while (at) {
    const next = at.nextSibling;
    if (!at.id || !to.querySelector("#" + CSS.escape(at.id))) at.remove();
    at = next;
  }
}

// show puts a part that was pushed in the place of the one there is.
function show(html) {
  const box = document.createElement("template");
  box.innerHTML = html;
  const to = box.content.firstElementChild;
  const from = to && document.getElementById(to.id);
  if (!from) return;
  localTimes(box.content);
  // A list that grows at its top moves down; where somebody reads in it, it is
  // moved back.
  const panel = from.querySelector(".panel");
  const held = panel && (panel.matches(":hover, :focus-within") || panel.scrollTop > 0);
  const before = panel && panel.scrollHeight;
  morph(from, to);
  if (held) panel.scrollTop += panel.scrollHeight - before;
}

function follow(where) {
  const lost = document.querySelector(".lost");
  const source = new EventSource(where);
  source.addEventListener("open", () => { lost.hidden = true; });
  source.addEventListener("part", (e) => show(e.data.slice(e.data.indexOf("\n") + 1)));
  source.addEventListener("over", () => location.reload());
  source.addEventListener("error", () => {
    lost.hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  });
  addEventListener("pagehide", () => source.close());
}

addEventListener("submit", (e) => {
  const question = e.target.dataset.confirm;
  if (question && !confirm(question)) e.preventDefault();
}, true);

// A list that is refreshed where it stands.
const fresh = document.querySelector("[data-refresh]");
if (fresh) {
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href, { headers: { "HX-Request": "true" } }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
    if (!answer || !answer.ok) return;
    const to = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(fresh.id);
    if (!to) return;
    localTimes(to);
    const before = fresh.offsetHeight;
    const held = fresh.getBoundingClientRect().top < 0;
    morph(fresh, document.importNode(to, true));
    if (held) scrollBy(0, fresh.offsetHeight - before);
  }, 2000);
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// The hours of a grant are those of a place: most likely the viewer's.
const zone = document.querySelector("[data-zone]");
if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

localTimes(document);
if (document.body.dataset.live) follow(document.body.dataset.live);
document.addEventListener("htmx:beforeSwap", (e) => { if (e.detail.xhr.status >= 400) e.detail.shouldSwap = false; });
document.addEventListener("htmx:afterSwap", (e) => localTimes(e.detail.elt));
