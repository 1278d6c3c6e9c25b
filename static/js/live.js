// Parts of a page that stay true while it is open and visible.
//   data-live="thread:12 mailing:3" data-live-url="…"   fetched anew when one of these topics changes (asked every 2 s)
//   data-poll-url="…" data-poll-every="5000"            fetched every 5 s (0.7 s without) until what came has [data-done]
// A part in which somebody is typing is left alone until the cursor is elsewhere.
const EVERY = 2000;
const POLL = 700;
const seen = new Set();
const shown = new WeakMap(); // part -> what was fetched last
let stale = new Set();

async function fragment(url) {
  const answer = await fetch(url, { headers: { "X-Fragment": "1", Accept: "text/html" } });
  if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); throw new Error("logged out"); }
  if (!answer.ok) throw new Error(`${answer.status} ${url}`);
  return answer.text();
}

export async function refresh(part, url = part.dataset.liveUrl) {
  const text = await fragment(url);
  const said = text.replace(/name="csrf_token" value="[^"]*"/g, ""); // the token is another one each time
  if (part.innerHTML === text || shown.get(part) === said) return;
  shown.set(part, said);
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const unfolded = [...part.querySelectorAll("details[open][id]")].map((details) => details.id);
  part.innerHTML = text;
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus(); // who works by keyboard stays where they were
  part.dispatchEvent(new CustomEvent("coqui:fresh", { bubbles: true }));
}

function typingIn(part) {
  const field = document.activeElement;
  return field && part.contains(field) && field.matches("input, textarea, select, [contenteditable]");
}

function parts() {
  return [...document.querySelectorAll("[data-live][data-live-url]")];
}

async function freshen() {
  for (const part of [...stale]) {
    if (!part.isConnected) { stale.delete(part); continue; }
    if (typingIn(part)) continue;
    stale.delete(part);
    try { await refresh(part); } catch { /* the next round tries again when something happens */ }
  }
}

async function listen() {
  const mark = document.querySelector('meta[name="events-after"]');
  if (!mark) return;
  let after = Number(mark.content) || 0;
  let wait = EVERY;
  for (;;) {
    await new Promise((go) => setTimeout(go, wait));
    if (document.hidden || parts().length === 0) continue;
    try {
      const answer = await fetch(`${mark.dataset.url}?after=${after}`, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error("no answer");
      const told = await answer.json();
      const topics = new Set();
      for (const [id, topic] of told.events) if (!seen.has(id)) { seen.add(id); topics.add(topic); }
      after = told.after;
      for (const part of parts()) {
        if (told.all || part.dataset.live.split(/\s+/).some((topic) => topics.has(topic))) stale.add(part);
      }
      if (seen.size > 5000) seen.clear();
      wait = EVERY;
      await freshen();
    } catch {
      wait = Math.min(wait * 2, 30000); // the server is away: ask less often
    }
  }
}

async function poll(part) {
  part.dataset.polling = "1";
  const every = Number(part.dataset.pollEvery) || POLL;
  let wait = every;
  while (part.isConnected && part.dataset.pollUrl && !part.querySelector("[data-done]")) {
    await new Promise((go) => setTimeout(go, wait));
    if (document.hidden) continue;
    try { await refresh(part, part.dataset.pollUrl); wait = every; } catch { wait = Math.min(wait * 2, 10000); }
  }
  delete part.dataset.polling;
}

function pollAll(root) {
  const found = [...root.querySelectorAll("[data-poll-url]")];
  if (root.matches?.("[data-poll-url]")) found.push(root);
  for (const part of found) if (!part.dataset.polling) poll(part);
}

export function connectLive() {
  pollAll(document);
  document.addEventListener("coqui:fresh", (event) => pollAll(event.target));
  listen();
}
