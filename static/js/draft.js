// What somebody is writing outlives the page: a click that loads it anew, a session that ended. Kept in this window only.
//   <form data-draft="7">: the text and its kind are kept for the account with this number, under the form's address
const ARRIVED = "#chatter"; // where a page leads once it has taken what was written

export function keepDraft(form) {
  const { words, kind } = form.elements;
  const key = `draft:${form.dataset.draft}:${form.getAttribute("action")}`;
  const keep = (sent) => store(key, words.value && JSON.stringify({ words: words.value, kind: kind.value, sent }));
  const draft = read(key);
  if (draft?.sent && location.hash === ARRIVED) store(key, "");
  else if (draft && !words.value) {
    words.value = draft.words;
    kind.value = draft.kind;
  }
  if (words.value) keep(false); // written before this script was there
  form.addEventListener("input", () => keep(false));
  form.addEventListener("submit", (event) => { if (!event.defaultPrevented) keep(true); });
}

function read(key) {
  try { return JSON.parse(sessionStorage.getItem(key)); } catch { return null; }
}

function store(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch { /* not kept */ }
}
