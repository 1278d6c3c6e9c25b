// The menu: remembers which groups are open, and finds a page by its name or by another word for it.
export function connectMenu() {
  const sidebar = document.getElementById("sidebar");
  if (!sidebar) return;
  for (const group of sidebar.querySelectorAll("details[data-remember]")) {
    const key = "menu:" + group.dataset.remember;
    try { if (localStorage.getItem(key) === "1") group.open = true; } catch { /* not remembered */ }
    group.addEventListener("toggle", () => {
      if (sidebar.dataset.finding) return;
      try { localStorage.setItem(key, group.open ? "1" : "0"); } catch { /* not remembered */ }
    });
  }
  showCurrent(sidebar);
  const find = sidebar.querySelector("[data-menu-find]");
  find.addEventListener("input", () => narrow(sidebar, find.value.trim().toLowerCase()));
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && find.value.trim()) sidebar.querySelector("a.nav-entry:not([hidden])")?.click();
    if (event.key === "Escape") { find.value = ""; narrow(sidebar, ""); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && getComputedStyle(sidebar).visibility !== "hidden") {
      event.preventDefault();
      find.focus();
    }
  });
}

// The page being shown is centred in the menu; scrollIntoView would move the page as well.
function showCurrent(sidebar) {
  const list = sidebar.querySelector(".sidebar-nav");
  const entry = list.querySelector('[aria-current="page"]');
  if (!entry) return;
  list.scrollTop += entry.getBoundingClientRect().top - list.getBoundingClientRect().top - list.clientHeight / 2;
}

function narrow(sidebar, words) {
  sidebar.dataset.finding = words;
  for (const entry of sidebar.querySelectorAll("a.nav-entry")) {
    const path = ancestors(entry).join(" ");
    const text = `${path} ${entry.textContent} ${entry.dataset.also ?? ""}`.toLowerCase();
    entry.hidden = words !== "" && !words.split(/\s+/).every((word) => text.includes(word));
    entry.classList.toggle("d-none", entry.hidden);
  }
  for (const group of sidebar.querySelectorAll("details")) {
    const found = group.querySelector("a.nav-entry:not([hidden])");
    group.classList.toggle("d-none", !found);
    group.open = words ? Boolean(found) : Boolean(group.querySelector('[aria-current="page"]')) || remembered(group);
  }
  sidebar.querySelector("[data-menu-nothing]").hidden = Boolean(sidebar.querySelector("a.nav-entry:not([hidden])"));
  for (const heading of sidebar.querySelectorAll(".nav-heading")) {
    const list = heading.nextElementSibling;
    heading.classList.toggle("d-none", !list?.querySelector("a.nav-entry:not([hidden])"));
  }
}

function remembered(group) {
  try { return localStorage.getItem("menu:" + group.dataset.remember) === "1"; } catch { return false; }
}

function ancestors(entry) {
  const words = [];
  for (let group = entry.closest("ul"); group; group = group.parentElement.closest("ul")) {
    const heading = group.previousElementSibling;
    if (heading) words.push(heading.textContent);
  }
  return words;
}
