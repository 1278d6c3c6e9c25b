// The browser's zone becomes that of an account which has none yet. It is told once, so that who chooses UTC keeps it.
export function connectZone() {
  const wanted = document.querySelector('meta[name="zone-wanted"]');
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!wanted || !zone || zone === "UTC" || told()) return;
  const token = document.querySelector('meta[name="csrf-token"]').content;
  fetch(wanted.dataset.url, { method: "POST", headers: { "X-CSRFToken": token }, body: new URLSearchParams({ zone }) })
    .then((answer) => { if (answer.ok) localStorage.setItem("zone", zone); })
    .catch(() => { /* the next page tries again */ });
}

function told() {
  try { return localStorage.getItem("zone"); } catch { return true; }
}
