// Forms that help: the encryption picks the port, fields appear when they matter, unsaved work is not lost by a slip.
export function connectForms(part) {
  // <select data-port-for="port" data-ports='{"tls": 465, "starttls": 587, "none": 25}'>: only a usual port is changed
  // data-port-by="kind encryption": the port depends on both fields, the keys are then such as "imap tls"
  for (const choice of part.querySelectorAll("[data-port-for]")) {
    const ports = JSON.parse(choice.dataset.ports);
    const usual = new Set(Object.values(ports).map(String));
    const by = choice.dataset.portBy?.split(" ") ?? [choice.name];
    choice.addEventListener("change", () => {
      const port = document.getElementById(choice.dataset.portFor);
      const wanted = ports[by.map((name) => choice.form.elements[name]?.value ?? "").join(" ")];
      if (port && (port.value === "" || usual.has(port.value)) && wanted) port.value = wanted;
    });
  }
  // <div data-shown-if="auth=password,certificate">: shown while that field has one of these values; an <option> that
  // is not shown can't be chosen either
  for (const block of part.querySelectorAll("[data-shown-if]")) {
    const [name, values] = block.dataset.shownIf.split("=");
    const form = block.closest("form") || document;
    const fields = form.querySelectorAll(`[name="${CSS.escape(name)}"]`);
    const show = () => {
      const field = [...fields].find((one) => one.type !== "radio" || one.checked);
      const value = field?.type === "checkbox" ? (field.checked ? "1" : "") : field?.value ?? "";
      block.hidden = !values.split(",").includes(value);
      if (block.localName !== "option") return;
      block.disabled = block.hidden;
      if (block.hidden && block.selected) {
        const choice = block.closest("select");
        choice.selectedIndex = 0;
        choice.dispatchEvent(new Event("change", { bubbles: true }));
      }
    };
    fields.forEach((field) => field.addEventListener("change", show));
    show();
  }
  for (const form of part.querySelectorAll("form[data-guard-changes]")) {
    let changed = [...form.elements].some(isTyped); // before this script was there
    const leaving = (event) => { if (changed) event.preventDefault(); };
    // Another form of the page loads it anew as well; what is kept as a draft, without files, is no loss then.
    const isKept = () => form.dataset.draft && ![...form.elements].some((field) => field.type === "file" && field.value);
    form.addEventListener("input", () => { changed = true; });
    form.addEventListener("change", () => { changed = true; });
    document.addEventListener("submit", (event) => {
      if (!event.defaultPrevented && (event.target === form || isKept())) changed = false;
    });
    window.addEventListener("beforeunload", leaving);
  }
  for (const button of part.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => {
      const words = button.dataset.copied ? button.querySelector("span") : null;
      const [titleBefore, wordsBefore] = [button.title, words?.textContent];
      copied(button.dataset.copy).then(() => {
        button.title = "✓";
        if (words) words.textContent = button.dataset.copied;
        else button.classList.add("text-success");
        setTimeout(() => {
          button.title = titleBefore;
          button.classList.remove("text-success");
          if (words) words.textContent = wordsBefore;
        }, 1500);
      });
    });
  }
  // A form is sent once, however often the button is pressed.
  for (const form of part.querySelectorAll('form[method="post"]')) {
    form.addEventListener("submit", (event) => {
      if (event.defaultPrevented) return;
      if (form.dataset.sent) { event.preventDefault(); return; }
      form.dataset.sent = "1";
      setTimeout(() => { delete form.dataset.sent; }, 3000);
    });
  }
}

// Browsers lend the clipboard only to pages that came over HTTPS; on others a selection is copied.
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("not copied");
}

function isTyped(field) {
  return ["text", "textarea", "email"].includes(field.type) && field.value !== field.defaultValue;
}
