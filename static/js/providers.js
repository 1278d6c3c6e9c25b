// The provider of a new outgoing server fills in its form. The page of a provider, made for browsers without JavaScript,
// has the form filled in: it is fetched, and what it has is taken over. What a person typed stays, or is asked for.
import { ask } from "./confirm.js";

const FILLED = ["host", "encryption", "port", "authentication"];
const LIMITS = ["per_second", "per_minute", "per_hour", "per_day", "connections", "per_connection"];
const PARTS = ["provider-notes", "host-help", "user-help", "password-help"];

export function connectProviders() {
  const choice = document.getElementById("provider");
  if (!choice) return;
  const hosts = new Set([...choice.options].map((option) => option.dataset.host));
  const names = new Set([...choice.options].map((option) => option.text));
  const field = (name) => document.getElementById(name);
  const limits = new Map([...choice.options].map((option) => [option.value, JSON.parse(option.dataset.limits || "{}")]));
  let chosen = choice.value;
  let filledBy = chosen;

  const fillLimits = (provider) => {
    for (const name of LIMITS) {
      const typed = field(name).value !== String(limits.get(filledBy)[name] ?? "");
      if (!typed) field(name).value = limits.get(provider)[name] ?? "";
    }
    filledBy = provider;
  };

  const fill = (page) => {
    if (names.has(field("name").value) || field("name").value === "") field("name").value = page.getElementById("name").value;
    for (const name of FILLED) {
      field(name).value = page.getElementById(name).value;
      field(name).dispatchEvent(new Event("change"));
    }
    field("port").value = page.getElementById("port").value; // the encryption has set its usual one
  };

  choice.addEventListener("change", async () => {
    const wanted = choice.value;
    if (wanted === chosen) return;
    const typed = field("host").value !== "" && !hosts.has(field("host").value);
    if (wanted && typed && !(await ask(choice))) {
      choice.tomselect.setValue(chosen, true);
      return;
    }
    chosen = wanted;
    const url = new URL(location.href);
    url.searchParams.set("provider", wanted);
    try {
      const answer = await fetch(url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (chosen !== wanted) return; // another one has been chosen meanwhile
      if (wanted) fill(page);
      fillLimits(wanted);
      for (const id of PARTS) document.getElementById(id).replaceWith(page.getElementById(id));
      history.replaceState(null, "", url);
    } catch {
      location.assign(url); // not our page: whoever typed something is asked before it is left
    }
  });
}
