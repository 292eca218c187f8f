// Runs before anything is drawn, so that a page does not flash in the other colours.
document.documentElement.classList.add("js");
try {
  const kept = localStorage.getItem("mlplab-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // Storage may be closed to us: the system's choice stands.
}
