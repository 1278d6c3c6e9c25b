// The chatter of a document: frames as high as their mail, quoted parts on demand, the composer.
import { keepDraft } from "./draft.js";

function fit(frame) {
  if (frame.dataset.fitted) return; // a part that was fetched anew keeps the frames that did not change
  frame.dataset.fitted = "1";
  const resize = () => {
    const page = frame.contentDocument?.documentElement;
    if (!page) return;
    // What the mail needs, not scrollHeight of the page: that is never less than the frame and so never shrinks again.
    const needed = Math.max(page.offsetHeight, page.querySelector("body")?.scrollHeight ?? 0);
    const scrollbar = frame.contentWindow.innerHeight - page.clientHeight;
    frame.style.height = `${Math.min(needed + scrollbar + 2, 4000)}px`;
  };
  const follow = () => {
    resize();
    const seen = frame.contentDocument?.body;
    if (seen) new ResizeObserver(resize).observe(seen);
  };
  frame.addEventListener("load", follow);
  if (frame.contentDocument?.readyState === "complete") follow(); // it came before this script: it grows on a turned phone as well
}

function connect(part) {
  part.querySelectorAll("iframe.mail-body").forEach(fit);
  for (const details of part.querySelectorAll("details.quoted:not([data-connected])")) {
    details.dataset.connected = "1";
    details.addEventListener("toggle", () => {
      const frame = details.querySelector("iframe[data-src]");
      if (details.open && frame && !frame.src) frame.src = frame.dataset.src;
    });
  }
  for (const button of part.querySelectorAll("[data-remote]:not([data-connected])")) {
    button.dataset.connected = "1";
    button.addEventListener("click", () => {
      for (const frame of button.closest("article").querySelectorAll("iframe")) {
        for (const name of ["src", "data-src"]) {
          const address = frame.getAttribute(name);
          if (address) frame.setAttribute(name, `${address}${address.includes("?") ? "&" : "?"}remote=1`);
        }
      }
      button.remove();
    });
  }
}

// Files as they will be sent: base64, four octets for three, in lines of 76 letters. Words as well, or with three letters
// for each that is not ASCII. Files that make the email too large leave as links, the largest first.
const asSent = (octets) => Math.ceil(octets / 57) * 78;
function wordsAsSent(text) {
  const octets = new TextEncoder().encode(text);
  const beyond = octets.filter((one) => one > 127).length;
  return beyond * 3 > octets.length ? asSent(octets.length) : Math.ceil((octets.length + 2 * beyond) * 1.05);
}
const inMegabytes = (octets) => (octets / 1e6).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1 });
const HEADERS = 4000;
const LINK = 2000;

function toLink(files, size, most) {
  const linked = [];
  for (const file of [...files].sort((one, other) => other.size - one.size)) {
    if (size <= most) break;
    linked.push(file);
    size += LINK - HEADERS - asSent(file.size);
  }
  return linked;
}

// Returns whether all of it can be sent.
function measure(composer) {
  const files = [...composer.querySelector("[data-files]").files];
  const attached = composer.querySelector("[data-attached]");
  const words = (file) => attached.dataset.asSent.replace("#name", () => file.name).replace("#size", inMegabytes(asSent(file.size)));
  attached.textContent = files.map((file) => (file.size > 1e6 ? words(file) : file.name)).join(", ");
  const twice = 2 * wordsAsSent(composer.querySelector("textarea").value); // as text and as HTML
  const size = files.reduce((sum, file) => sum + asSent(file.size) + HEADERS, HEADERS + twice);
  const most = Number(composer.dataset.most);
  const upload = Number(composer.dataset.links) || 0; // how much can be sent at once, where links can be followed
  const linked = upload ? toLink(files, size, most) : [];
  const note = composer.querySelector("[data-sent-as-link]");
  note.hidden = linked.length === 0;
  const isNote = composer.querySelector('[name="kind"]:checked').value === "note";
  note.textContent = (isNote ? note.dataset.sentInside : note.dataset.sentAsLink).replace("#names", () => linked.map((file) => file.name).join(", "));
  const raw = files.reduce((sum, file) => sum + file.size, 100000);
  const tooMuch = upload > 0 && raw > upload;
  const warning = composer.querySelector("[data-too-large]");
  warning.hidden = !(tooMuch || (!upload && files.length > 0 && size > most));
  warning.textContent = (tooMuch ? warning.dataset.tooMuch : warning.dataset.tooLarge)
    .replace("#size", inMegabytes(tooMuch ? raw : size)).replace("#limit", inMegabytes(tooMuch ? upload : most));
  return warning.hidden;
}

for (const composer of document.querySelectorAll("[data-composer]")) {
  const words = composer.querySelector("textarea");
  const decided = new Map(); // who was ticked or not by hand: it stays, also when the offer is fetched anew
  const show = () => {
    const kind = composer.querySelector('[name="kind"]:checked').value;
    composer.classList.toggle("is-note", kind === "note");
    words.placeholder = words.dataset[kind];
    const label = composer.querySelector("[data-label]");
    label.textContent = label.dataset[kind];
    for (const audience of composer.querySelectorAll("[data-audience]")) audience.hidden = audience.dataset.audience !== kind;
    for (const box of composer.querySelectorAll('[name="also"]')) if (decided.has(box.value)) box.checked = decided.get(box.value);
  };
  composer.querySelectorAll('[name="kind"]').forEach((choice) => choice.addEventListener("change", () => { show(); measure(composer); }));
  composer.addEventListener("change", (event) => { if (event.target.name === "also") decided.set(event.target.value, event.target.checked); });
  composer.addEventListener("coqui:fresh", show);
  for (const field of [words, composer.querySelector("[data-files]")]) field.addEventListener("change", () => measure(composer));
  composer.addEventListener("submit", (event) => { if (!measure(composer)) event.preventDefault(); });
  keepDraft(composer);
  show();
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) composer.requestSubmit();
  });
}

// What an envelope says closes like a menu: by a click beside it or by Escape.
function closeEnvelopes(except) {
  for (const open of document.querySelectorAll("details.envelope-details[open]")) if (open !== except) open.open = false;
}
document.addEventListener("click", (event) => closeEnvelopes(event.target.closest("details.envelope-details")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  document.activeElement?.closest("details.envelope-details")?.querySelector("summary").focus();
  closeEnvelopes();
});

// What is said here leaves the reader's inbox once it was seen: by a request of a page that is open and visible.
let asked = false;
async function markRead() {
  const unread = document.querySelector("[data-unread]");
  if (!unread || document.hidden || asked) return;
  asked = true;
  try {
    const token = document.querySelector('meta[name="csrf-token"]').content;
    const answer = await fetch(unread.dataset.unread, { method: "POST", headers: { "X-CSRFToken": token } });
    if (answer.ok) delete unread.dataset.unread;
  } catch { /* the next look tries again */ }
  asked = false;
}

connect(document);
markRead();
document.addEventListener("visibilitychange", markRead);
document.addEventListener("coqui:fresh", (event) => { connect(event.target); markRead(); });
