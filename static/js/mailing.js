// The editor of mailings and the preview: the contents of the form are shown as they would arrive, mistakes with their line.
const WAIT = 500;

const editor = document.querySelector("form[data-mailing]");
let frame = document.querySelector("iframe[data-preview]");
const saved = document.querySelector("[data-saved-preview]");

function chosenLook() {
  return document.querySelector('[name="_look"]:checked')?.value ?? "desktop";
}

function values() {
  const given = new FormData(editor);
  for (const name of ["_look", "_bare", "_then"]) given.delete(name);
  return given;
}

async function check() {
  const part = editor.querySelector("[data-checked]");
  try {
    const answer = await fetch(editor.dataset.checkUrl, { method: "POST", body: values(), headers: { "X-Fragment": "1" } });
    if (!answer.ok || answer.redirected) return;
    const text = await answer.text();
    if (part.innerHTML !== text) part.innerHTML = text;
  } catch { /* the next change asks again */ }
}

// A form is posted into a new frame that takes the old one's place once it is there: nothing flickers, and the way back
// of the browser does not lead through every preview. What is shown was made by the same code as the real mail.
let frames = 0;
function preview() {
  const next = frame.cloneNode();
  next.name = `preview-${++frames}`;
  next.classList.add("d-none");
  const number = frames;
  const form = document.createElement("form");
  form.method = "post";
  form.action = editor.dataset.previewUrl;
  form.target = next.name;
  form.hidden = true;
  const given = values();
  given.set("as", editor.querySelector('[name="_bare"]').checked ? "bare" : "full");
  given.set("part", chosenLook() === "text" ? "text" : "html");
  for (const [name, value] of given) {
    const field = document.createElement("textarea"); // keeps line breaks, which an input would drop
    field.name = name;
    field.value = value;
    form.append(field);
  }
  frame.after(next);
  next.addEventListener("load", () => {
    if (next.contentWindow.location.href === "about:blank") return;
    if (number < shownFrame) return next.remove(); // a later one was quicker
    shownFrame = number;
    next.classList.remove("d-none");
    const before = frame.contentWindow?.scrollY ?? 0;
    frame.remove();
    frame = next;
    next.contentWindow.scrollTo(0, before);
  });
  document.body.append(form);
  form.submit();
  form.remove();
}
let shownFrame = 0;

function connectEditor() {
  let waiting = 0;
  let last = editor.elements.subject;
  const changed = (event) => {
    if (event.target.name?.startsWith("_")) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => { check(); preview(); }, WAIT);
  };
  editor.addEventListener("input", changed);
  editor.addEventListener("change", changed);
  editor.querySelector('[name="_bare"]').addEventListener("change", preview);
  const writable = ["subject", "preview", "html"].map((name) => editor.elements[name]);
  last = editor.elements.html;
  for (const field of writable) field.addEventListener("focus", () => { last = field; });
  for (const chip of editor.querySelectorAll("[data-insert]")) {
    chip.addEventListener("click", () => {
      last.focus();
      last.setRangeText(chip.dataset.insert, last.selectionStart, last.selectionEnd, "end");
      last.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
  editor.addEventListener("click", (event) => {
    const link = event.target.closest("[data-go-to]");
    if (link) goTo(editor.elements[link.dataset.goTo], Number(link.dataset.line));
  });
  preview();
}

function goTo(field, line) {
  const lines = field.value.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  field.focus();
  field.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  if (field.tagName === "TEXTAREA") field.scrollTop = Math.max(0, (line - 4) * parseFloat(getComputedStyle(field).lineHeight));
}

for (const look of document.querySelectorAll('[name="_look"]')) {
  look.addEventListener("change", () => {
    const before = frame.dataset.part ?? "html";
    frame.classList.toggle("is-phone", chosenLook() === "phone");
    frame.dataset.part = chosenLook() === "text" ? "text" : "html";
    if (before === frame.dataset.part) return;
    if (editor) preview();
    else frame.src = `${saved.dataset.savedPreview}?part=${frame.dataset.part}`;
  });
}
if (editor) connectEditor();
