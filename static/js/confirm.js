// Buttons and forms with data-confirm ask first, in a dialog of ours that keyboard and screen reader understand.
export function connectConfirm() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-confirm], a[data-confirm], input[data-confirm]");
    if (!button || button.dataset.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (button.form && !button.form.noValidate && !button.formNoValidate && !button.form.reportValidity()) return; // nobody agrees to what can't be sent
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
  yes.dataset.usual ||= yes.textContent; // another button of this page may have had its own word
  yes.textContent = button.dataset.confirmYes || yes.dataset.usual;
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
