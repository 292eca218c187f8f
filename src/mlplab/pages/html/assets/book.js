"use strict";
// What a page does beyond being read. Without it, everything but search and copying is still there.

const root = document.documentElement;
const base = root.dataset.root || "";
const live = document.getElementById("live");

function say(words) {
  live.textContent = "";
  requestAnimationFrame(() => { live.textContent = words; });
}

// Light and dark

document.getElementById("theme")?.addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("mlplab-theme", root.dataset.theme); } catch { /* it then holds for this page alone */ }
});

// The same place of the same page in the other language

document.getElementById("language")?.addEventListener("click", (event) => {
  event.currentTarget.hash = location.hash;
});

// Copy

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  const words = button.textContent;
  button.addEventListener("click", async () => {
    await copy(button.parentElement.querySelector("code").textContent);
    button.textContent = button.dataset.done;
    say(button.dataset.done);
    setTimeout(() => { button.textContent = words; }, 1800);
  });
}

// Figures: drawn as SVG already; the program that makes them answer the mouse is loaded when one comes near.

function fitted(spec, room) {
  // Panels side by side stand below each other where there is no room for them.
  const panels = spec.hconcat || spec.vconcat || spec.layer || [];
  if (spec.hconcat) {
    spec.vconcat = spec.hconcat;
    delete spec.hconcat;
  }
  for (const panel of panels) fitted(panel, room);
  if (typeof spec.width === "number" && spec.width > room) spec.width = room;
  return spec;
}

let program = null;

function load(source) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: source, onload: done, onerror: failed });
    document.head.append(script);
  });
}

async function draw(holder) {
  program ??= load(`${base}assets/vega.js`);
  await program;
  const spec = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
  const room = holder.closest(".scroll").clientWidth;
  const still = holder.querySelector(".static");
  // A little too wide, and it is drawn smaller; much too wide, and its panels stand below each other.
  if (Number(still.firstElementChild.getAttribute("width")) > 1.15 * room) fitted(spec, room - 130);
  if (room < 560) {
    const gradient = { gradientLength: Math.min(240, room - 60), labelOverlap: "greedy" };
    spec.config.legend = { ...spec.config.legend, orient: "bottom", columns: 2, ...gradient };
  }
  const target = document.createElement("div");
  const options = {
    renderer: "svg",
    actions: { export: true, source: false, compiled: false, editor: false },
    tooltip: { theme: "custom" },
    downloadFileName: `mlplab-${holder.dataset.figure}`,
    i18n: { CLICK_TO_VIEW_ACTIONS: holder.dataset.save, SVG_ACTION: holder.dataset.svg, PNG_ACTION: holder.dataset.png },
  };
  await vegaEmbed(target, spec, options);
  // Made smaller to fit, but never so small that its words cannot be read: what is wider scrolls.
  const drawn = target.querySelector("svg.marks");
  drawn.style.minWidth = `${0.8 * drawn.getAttribute("width")}px`;
  target.querySelector("summary")?.setAttribute("aria-label", holder.dataset.save);
  still.replaceWith(target);
  holder.dataset.drawn = "yes";
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    draw(entry.target).catch((error) => console.error(error));
  }
}, { rootMargin: "400px" });
for (const holder of document.querySelectorAll(".vega")) near.observe(holder);

// Where one is on the page

const links = new Map([...document.querySelectorAll(".toc a")].map((link) => [link.hash.slice(1), link]));
if (links.size) {
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? seen.add(entry.target.id) : seen.delete(entry.target.id);
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) id === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-80px 0px -50% 0px" });
  for (const id of links.keys()) {
    const section = document.getElementById(id);
    if (section) watch.observe(section);
  }
}

// Search

const dialog = document.getElementById("search");
const box = document.getElementById("search-words");
const results = document.getElementById("search-results");
const state = document.getElementById("search-state");
const { language } = root.dataset;
const editions = [{ language, tag: root.lang }, ...JSON.parse(root.dataset.others)]; // where it looks, this one first
let looking = null;
let asked = 0;

async function found(words, edition) {
  looking ??= load(`${base}assets/search.js`);
  await looking;
  if (!globalThis.mlplabPages?.[edition]) await load(`${base}assets/search-${edition}.js`);
  return mlplabSearch(mlplabPages[edition], words);
}

async function search(words) {
  const turn = ++asked;
  if (!words.trim()) {
    results.replaceChildren();
    state.textContent = "";
    return;
  }
  let edition = null;
  let pages = [];
  for (edition of editions) {
    pages = await found(words, edition.language);
    if (pages.length) break;
  }
  if (turn !== asked) return; // something else has been typed since
  const isHere = edition.language === language;
  const said = !pages.length ? state.dataset.none : isHere ? state.dataset.found : state.dataset.elsewhere;
  state.textContent = said.replace("{count}", pages.length).replace("{name}", edition.name);
  results.lang = edition.tag;
  results.replaceChildren(...pages.map((page) => shown(page, isHere ? "" : `../${edition.language}/`)));
}

function shown(page, folder) {
  const item = document.createElement("li");
  const link = Object.assign(document.createElement("a"), { href: folder + page.url });
  link.append(...page.title.map(piece));
  const excerpt = document.createElement("p");
  excerpt.append(...page.excerpt.map(piece));
  item.append(link, excerpt);
  return item;
}

function piece([words, isHit]) {
  return isHit ? Object.assign(document.createElement("mark"), { textContent: words }) : words;
}

function open() {
  if (dialog.open) return;
  dialog.showModal();
  box.focus();
  box.select();
}

document.getElementById("open-search")?.addEventListener("click", open);
document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName || "");
  if ((event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    open();
  }
});
let typing = 0;
box?.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => search(box.value).catch((error) => { state.textContent = String(error); }), 150);
});
box?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    results.querySelector("a")?.click();
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    results.querySelector("a")?.focus();
  }
});
results?.addEventListener("keydown", (event) => {
  const all = [...results.querySelectorAll("a")];
  const here = all.indexOf(document.activeElement);
  if (event.key === "ArrowDown") { event.preventDefault(); all[Math.min(here + 1, all.length - 1)]?.focus(); }
  if (event.key === "ArrowUp") { event.preventDefault(); (here > 0 ? all[here - 1] : box).focus(); }
});
dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
