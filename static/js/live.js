// Parts of a page that stay true while it is open and visible.
//   data-live="thread:12 mailing:3" data-live-url="…"   fetched anew when one of these topics changes (asked every 2 s,
//                                                       every 0.4 s on the page of a document)
//   data-poll-url="…" data-poll-every="5000"            fetched every 5 s (0.7 s without) until what came has [data-done]
//   data-keyed                                          in such a part: a list whose items have ids; those that say the
//                                                       same as before stay, with what was opened or loaded in them
// While a question is open nothing is replaced: a button that is gone would do nothing after "yes".
// A part in which somebody is typing is left alone until the cursor is elsewhere; but for one with data-keeps-choices,
// whose script brings back what was ticked.
const EVERY = 2000;
const IN_A_THREAD = 400; // people wait for a reply there
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

const withoutToken = (html) => html.replace(/name="csrf_token" value="[^"]*"/g, ""); // it is another one each time
const withoutTime = (html) => withoutToken(html).replace(/(<time[^>]*>)[^<]*/g, "$1"); // "a minute ago"

export async function refresh(part, url = part.dataset.liveUrl) {
  let text = await fragment(url);
  while (await questionAnswered()) text = await fragment(url);
  const said = withoutToken(text);
  if (part.innerHTML === text || shown.get(part) === said) return;
  shown.set(part, said);
  const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
  const unfolded = [...part.querySelectorAll("details[open][id]")].map((details) => details.id);
  const fresh = mergeItems(part, text);
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus(); // who works by keyboard stays where they were
  for (const piece of fresh) piece.dispatchEvent(new CustomEvent("coqui:fresh", { bubbles: true }));
}

// Waits for the answer to the question that is open, and for what the answer sends; returns whether one was open.
async function questionAnswered() {
  const dialog = document.querySelector("dialog[open]");
  if (dialog) await new Promise((go) => dialog.addEventListener("close", () => setTimeout(go), { once: true }));
  return Boolean(dialog);
}

// Puts what was fetched in place and returns the pieces that are new: the part itself, or items of its keyed list.
function mergeItems(part, text) {
  const list = part.querySelector("[data-keyed]");
  const came = document.createElement("template");
  came.innerHTML = text;
  const other = came.content.querySelector("[data-keyed]");
  if (!list || !other || list.parentElement !== part || other.parentNode !== came.content) {
    part.innerHTML = text;
    remember(part);
    return [part];
  }
  for (const name of list.getAttributeNames()) list.removeAttribute(name);
  for (const { name, value } of other.attributes) list.setAttribute(name, value);
  const fresh = [];
  let place = list.firstElementChild;
  for (const item of [...other.children]) {
    const old = item.id && [...list.children].find((one) => one.id === item.id);
    const said = withoutTime(item.outerHTML);
    let stays = item;
    if (old && items.get(old) === said) {
      stays = old;
      const times = item.querySelectorAll("time");
      old.querySelectorAll("time").forEach((time, number) => time.replaceWith(times[number]));
    } else {
      fresh.push(item);
      if (old) { if (place === old) place = old.nextElementSibling; old.remove(); }
      items.set(item, said);
    }
    if (stays === place) place = place.nextElementSibling; // moving a frame would load it anew
    else list.insertBefore(stays, place);
  }
  while (place) { const next = place.nextElementSibling; place.remove(); place = next; }
  for (const node of [...part.childNodes]) if (node !== list) node.remove();
  while (came.content.firstChild !== other) part.insertBefore(came.content.firstChild, list);
  other.remove();
  part.append(came.content);
  return fresh;
}

const items = new WeakMap(); // item of a keyed list -> what it said when it came

function remember(root) {
  for (const item of root.querySelectorAll("[data-keyed] > *")) items.set(item, withoutTime(item.outerHTML));
}

function typingIn(part) {
  const field = document.activeElement;
  if (part.hasAttribute("data-keeps-choices")) return false;
  return field && part.contains(field) && field.matches("input, textarea, select, [contenteditable]");
}

const pause = () => (parts().some((part) => part.dataset.live.includes("thread:")) ? IN_A_THREAD : EVERY);

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
  let wait = pause();
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
      wait = pause();
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
  remember(document); // before other scripts change what is in them
  pollAll(document);
  document.addEventListener("coqui:fresh", (event) => pollAll(event.target));
  listen();
}
