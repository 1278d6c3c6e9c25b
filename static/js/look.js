// Light and dark: follows the system until somebody chooses, then remembers the choice.
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

function kept() {
  try { return localStorage.getItem("look"); } catch { return null; }
}

function show(dark) {
  root.setAttribute("data-bs-theme", dark ? "dark" : "light");
  for (const words of document.querySelectorAll("[data-theme-words]")) {
    const [toDark, toLight] = words.dataset.themeWords.split("|");
    words.textContent = dark ? toLight : toDark;
  }
}

export function connectLook() {
  show(root.getAttribute("data-bs-theme") === "dark");
  system.addEventListener("change", () => { if (!kept()) show(system.matches); });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    const dark = root.getAttribute("data-bs-theme") !== "dark";
    try { localStorage.setItem("look", dark ? "dark" : "light"); } catch { /* only not remembered */ }
    show(dark);
  });
}
