// Lists: filters apply when they are chosen, ticked rows show the bar with what can be done to them.
export function connectLists() {
  for (const form of document.querySelectorAll("form[data-submit-on-change]")) {
    form.addEventListener("change", (event) => { if (event.target.matches("select")) form.requestSubmit(); });
    form.querySelector('input[type="search"]')?.addEventListener("search", (event) => {
      if (event.target.value === "" && new URLSearchParams(location.search).get("search")) form.requestSubmit();
    });
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
    });
  }
  const bar = document.querySelector("form[data-bulk]");
  if (!bar) return;
  const all = document.querySelector("[data-bulk-all]");
  const boxes = () => [...document.querySelectorAll('input[name="rowid"]')];
  const count = bar.querySelector("[data-bulk-count]");
  const show = () => {
    const ticked = boxes().filter((box) => box.checked).length;
    bar.hidden = ticked === 0;
    count.textContent = count.dataset.words.replace("#", ticked);
    if (all) {
      all.checked = ticked > 0 && ticked === boxes().length;
      all.indeterminate = ticked > 0 && !all.checked;
    }
  };
  all?.addEventListener("change", () => { for (const box of boxes()) box.checked = all.checked; show(); });
  document.addEventListener("change", (event) => { if (event.target.name === "rowid") show(); });
  show();
}
