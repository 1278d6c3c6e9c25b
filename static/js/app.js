// What every page does; each concern has a file of its own.
//   data-theme-switch                 a button that turns the look               look.js
//   data-confirm="Question?"          asks before a button or link goes on       confirm.js
//   data-live, data-poll-url          parts that stay true while open            live.js
//   data-bulk, data-submit-on-change  lists                                      lists.js
//   data-lookup, select[multiple]     choices with search                        choices.js
//   data-port-for, data-shown-if,     forms that help                            forms.js
//   data-guard-changes, data-copy
//   #provider                         what fills in an outgoing server           providers.js
//   data-draft                        what is written outlives the page          draft.js
// A part that is fetched later fires "coqui:fresh" on itself, so that these can be connected in it as well.
import { connectLook } from "./look.js";
import { connectMenu } from "./menu.js";
import { connectConfirm } from "./confirm.js";
import { connectLists } from "./lists.js";
import { connectChoices } from "./choices.js";
import { connectForms } from "./forms.js";
import { connectLive } from "./live.js";
import { connectProviders } from "./providers.js";
import { connectZone } from "./zone.js";

connectLook();
connectMenu();
connectConfirm();
connectLists();
connectChoices(document);
connectForms(document);
connectLive();
connectProviders();
connectZone();
document.addEventListener("coqui:fresh", (event) => {
  connectChoices(event.target);
  connectForms(event.target);
});
