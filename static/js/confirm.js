// Buttons and forms with data-confirm ask first, in a dialog of ours that keyboard and screen reader understand.
export function connectConfirm() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-confirm], a[data-confirm], input[data-confirm]");
    if (!button || button.dataset.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    ask(button).then((yes) => {
      if (!yes) return;
      button.dataset.confirmed = "1";
      button.click();
      delete button.dataset.confirmed;
    });
  }, true);
}

export function ask(button) {
  const dialog = document.getElementById("ask");
  dialog.querySelector("h2").textContent = button.dataset.confirm;
  const yes = dialog.querySelector("#ask-yes");
  yes.textContent = button.dataset.confirmYes || yes.textContent;
  yes.className = button.dataset.confirmLook === "danger" ? "btn btn-danger" : "btn btn-primary";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((answer) => {
    dialog.addEventListener("close", () => {
      button.focus();
      answer(dialog.returnValue === "yes");
    }, { once: true });
  });
}
