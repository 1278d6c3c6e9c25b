// Choices with search: select[data-lookup] asks the server, select[multiple] searches what it has.
export function connectChoices(part) {
  for (const select of part.querySelectorAll("select[data-lookup], select[data-search], select[multiple]:not([data-plain])")) {
    if (select.tomselect) continue;
    const lookup = select.dataset.lookup;
    const options = {
      plugins: select.multiple ? ["remove_button"] : [],
      maxOptions: 200,
      valueField: "value",
      labelField: "text",
      searchField: lookup ? [] : ["text"],
      allowEmptyOption: !select.required,
      placeholder: select.dataset.placeholder || "",
    };
    if (lookup) {
      options.preload = "focus";
      options.score = () => () => 1; // the server has searched already
      options.load = (words, done) => {
        const url = new URL(lookup, location.href);
        url.searchParams.set("q", words);
        fetch(url, { headers: { Accept: "application/json" } })
          .then((answer) => (answer.ok ? answer.json() : []))
          .then((found) => done(found))
          .catch(() => done());
      };
    }
    const label = part.querySelector(`label[for="${CSS.escape(select.id)}"]`);
    const box = new window.TomSelect(select, options);
    if (label) { // the label now belongs to the box; the select behind it keeps its name
      const words = label.textContent.replace("*", "").trim();
      select.setAttribute("aria-label", words);
      box.control_input.setAttribute("aria-label", words);
    }
  }
}
