"use strict";
// Pages and a query -> the pages that hold its words, best first, with the places marked.
// Every text is looked through as it stands: for 50 pages that takes a few milliseconds.

(() => {
  const GREEK = {
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", zeta: "ζ", eta: "η", theta: "θ", kappa: "κ", lambda: "λ", mu: "μ",
    nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ", phi: "φ", chi: "χ", psi: "ψ", omega: "ω",
  };
  const NAMES = Object.fromEntries(Object.entries(GREEK).map(([name, letter]) => [letter, name]));
  const SAME = { "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "’": "'", "‘": "'", "“": "\"", "”": "\"", "\u2061": "" };
  const HAN = /\p{Script=Han}/u;
  const ROOM = 170; // letters of an excerpt; Chinese ones are twice as wide
  const MISSPELT = 4; // shorter words are taken as they are

  // One form of a text: case, width, styles of letters in formulas, -ise and -ize. `from[i]` is where letter i stood.
  function folded(text) {
    const letters = [];
    const from = [];
    let at = 0;
    for (const letter of text) {
      for (const plain of letter.normalize("NFKC").toLowerCase()) {
        for (const unit of (SAME[plain] ?? plain)) {
          letters.push(unit);
          for (let i = 0; i < unit.length; i++) from.push(at);
        }
      }
      at += letter.length;
    }
    from.push(at);
    return { text: letters.join("").replace(/iz(?=[aei])/g, "is"), from };
  }

  // Under which forms a term may stand: a Greek letter or its name, many or one of a thing.
  function forms(term) {
    if (GREEK[term]) return [term, GREEK[term]];
    if (NAMES[term]) return [term, NAMES[term]];
    return /^[a-z]{4,}[^s]s$/.test(term) ? [term.slice(0, -1)] : [term];
  }

  // A word is found at its beginning, a number whole, Chinese anywhere.
  function stands(text, form, at) {
    const before = text[at - 1] ?? " ";
    const after = text[at + form.length] ?? " ";
    if (/^[a-z]/.test(form) && /[a-z]/.test(before)) return false;
    if (/^\d/.test(form) && (/\d/.test(before) || (before === "." && /\d/.test(text[at - 2] ?? " ")))) return false;
    if (/^[a-z]$/.test(form) && /[a-z]/.test(after)) return false;
    return !(/\d$/.test(form) && /\d/.test(after));
  }

  function places(text, term) {
    const found = [];
    for (const form of term.forms) {
      for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1)) {
        if (stands(text, form, at)) found.push([at, at + form.length]);
      }
    }
    return found;
  }

  // Letters to change, add, leave out or swap until one word is the other; at most `most`, else more.
  function distance(one, other, most) {
    if (Math.abs(one.length - other.length) > most) return most + 1;
    let older = [];
    let old = [...Array(other.length + 1).keys()];
    for (let i = 1; i <= one.length; i++) {
      const row = [i];
      for (let j = 1; j <= other.length; j++) {
        row[j] = Math.min(old[j] + 1, row[j - 1] + 1, old[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1));
        if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) row[j] = Math.min(row[j], older[j - 2] + 1);
      }
      [older, old] = [old, row];
    }
    return old[other.length];
  }

  function nearest(word, vocabulary) {
    let most = word.length > 6 ? 2 : 1;
    let found = [];
    for (const other of vocabulary) {
      const steps = distance(word, other, most);
      if (steps < most) [most, found] = [steps, []];
      if (steps === most) found.push(other);
    }
    return found;
  }

  const prepared = new WeakMap();
  function prepare(pages) {
    if (!prepared.has(pages)) {
      const held = pages.map((page) => ({ page, title: folded(page.title), text: folded(page.text) }));
      const all = held.map(({ title, text }) => `${title.text} ${text.text}`).join(" ");
      prepared.set(pages, { held, vocabulary: new Set([...Object.keys(GREEK), ...(all.match(/[a-z]{4,}/g) ?? [])]) });
    }
    return prepared.get(pages);
  }

  function looked(term, held) {
    const found = held.map(({ page, title, text }) => {
      const inTitle = places(title.text, term);
      const inText = places(text.text, term);
      const isAlso = term.forms.includes(page.also);
      const weight = inText.length / (inText.length + 1.5) + (inTitle.length ? 4 : isAlso ? 2 : 0);
      return { inTitle, inText, weight };
    });
    const pages = found.filter(({ weight }) => weight > 0).length;
    return { term, found, pages, rarity: Math.log(1 + held.length / Math.max(pages, 1)) };
  }

  // A term that no page has: another form of the word, its misspelt word set right, or its parts.
  function instead(term, { held, vocabulary }) {
    if (/^[a-z]+$/.test(term.word) && term.word.length >= MISSPELT) {
      const stem = looked({ word: term.word, forms: [term.word.replace(/(?:ations?|ing|ed|es|e)$/, "")] }, held);
      if (stem.pages && stem.term.forms[0].length > MISSPELT) return [stem];
      const words = nearest(term.word, vocabulary);
      return words.length ? [looked({ word: term.word, forms: words.flatMap(forms) }, held)].filter(({ pages }) => pages) : [];
    }
    const letters = [...term.word];
    const parts = HAN.test(term.word)
      ? letters.length > 2 ? letters.slice(1).map((letter, i) => letters[i] + letter) : []
      : term.word.match(/[a-z]+|\d[\d.]*/g) ?? [];
    return parts.filter((word) => word !== term.word).map((word) => looked({ word, forms: forms(word) }, held)).filter(({ pages }) => pages);
  }

  function marked(original, { from }, found) {
    const merged = [];
    for (const [start, end] of found.map(([a, b]) => [from[a], from[b]]).sort((a, b) => a[0] - b[0])) {
      const last = merged.at(-1);
      if (last && start <= last[1]) last[1] = Math.max(last[1], end);
      else merged.push([start, end]);
    }
    return (first, beyond) => {
      const segments = [];
      let at = first;
      for (const [start, end] of merged) {
        if (start < first || end > beyond) continue;
        segments.push([original.slice(at, start), false], [original.slice(start, end), true]);
        at = end;
      }
      return [...segments, [original.slice(at, beyond), false]].filter(([words]) => words);
    };
  }

  // The stretch of text that holds most of the terms.
  function excerpt(page, text, byTerm) {
    const room = HAN.test(page.text) ? ROOM / 2 : ROOM;
    const hits = byTerm.flatMap((found, term) => found.map((place) => ({ place, term }))).sort((a, b) => a.place[0] - b.place[0]);
    let best = 0;
    let most = 0;
    hits.forEach(({ place: [start] }, i) => {
      const terms = new Set();
      for (let j = i; j < hits.length && hits[j].place[1] <= start + 0.7 * room; j++) terms.add(hits[j].term);
      if (terms.size > most) [best, most] = [start, terms.size];
    });
    let first = Math.max(0, text.from[best] - Math.round(room / 4));
    const space = page.text.indexOf(" ", first);
    if (first > 0 && space >= 0 && space < text.from[best]) first = space + 1;
    const beyond = Math.min(page.text.length, first + room);
    const segments = marked(page.text, text, hits.map(({ place }) => place))(first, beyond);
    if (first > 0) segments.unshift(["… ", false]);
    if (beyond < page.text.length) segments.push([" …", false]);
    return segments;
  }

  function search(pages, query) {
    const whole = folded(query).text.trim().replace(/\s+/g, " ");
    const words = whole
      .split(" ")
      .flatMap((word) => word.match(/\p{Script=Han}+|[^\p{Script=Han}]+/gu) ?? [])
      .map((word) => word.replace(/^[\p{P}\p{S}]+(?=[\p{L}\p{N}])|(?<=[\p{L}\p{N}])[\p{P}]+$/gu, "").replace(/^\p{P}+$/u, ""))
      .filter(Boolean);
    const held = prepare(pages);
    const asked = [...new Set(words)].map((word) => looked({ word, forms: forms(word) }, held.held));
    const terms = asked.flatMap((term) => (term.pages ? [term] : instead(term.term, held)));
    const ranked = held.held.map(({ page, title, text }, i) => {
      let score = 0;
      for (const { found, rarity } of terms) score += found[i].weight * rarity;
      const hasAll = terms.length > 0 && terms.every(({ found }) => found[i].weight > 0);
      if (score && title.text.includes(whole)) score += 20;
      if (score && words.length > 1 && text.text.includes(whole)) score += 5;
      return { page, title, text, i, score, hasAll };
    }).filter(({ score }) => score > 0).sort((a, b) => b.score - a.score);
    const all = ranked.filter(({ hasAll }) => hasAll);
    // No page has all of them: those that have most.
    const shown = all.length ? all : ranked.filter(({ score }) => score > 0.6 * ranked[0].score);
    return shown.map(({ page, title, text, i }) => ({
      url: page.url,
      title: marked(page.title, title, terms.flatMap(({ found }) => found[i].inTitle))(0, page.title.length),
      excerpt: excerpt(page, text, terms.map(({ found }) => found[i].inText)),
    }));
  }

  globalThis.mlplabSearch = search;
})();
