// Runs before the page is painted, so that nobody who likes it dark sees a flash of white.
(function () {
  "use strict";
  var kept = null;
  try { kept = localStorage.getItem("look"); } catch (_) { /* storage may be switched off */ }
  var dark = kept ? kept === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.setAttribute("data-bs-theme", dark ? "dark" : "light");
})();
