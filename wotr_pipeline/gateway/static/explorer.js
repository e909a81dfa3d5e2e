// /explorer/ with JavaScript: the editor, results without a new page, Cancel, the list of tables.
//
// Belongs here: what makes the page quicker to use; all of it works without, as forms and links.
// Text of the server or of a person becomes text nodes, or HTML that the server's templates have escaped.

import { mount } from "/static/editor.js";

const page = document.getElementById("explorer");
const form = document.getElementById("query");
const textarea = document.getElementById("statement");
const result = document.getElementById("result");
const runButton = document.getElementById("run");
const cancelButton = document.getElementById("cancel");
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const PART = { Accept: "application/problem+json", "X-Part": "result" };
const DATA = { Accept: "application/json" };
let running = "";

const editor = mount(textarea, {
  nonce: page.dataset.nonce,
  label: document.getElementById("statement-label").textContent,
  onRun: () => run(),
});
window.explorerEditor = editor;

function post(address, fields, headers) {
  return fetch(address, {
    method: "POST",
    headers: { ...headers, "X-CSRF-Token": token },
    body: new URLSearchParams(fields),
  });
}

function refuse(text) {
  const box = document.createElement("div");
  box.className = "notice bad refused";
  box.setAttribute("role", "alert");
  box.append(Object.assign(document.createElement("p"), { textContent: text }));
  result.replaceChildren(box);
}

async function problemOf(answer) {
  if (answer.status === 401) return "You are no longer signed in: load the page again.";
  try {
    return (await answer.json()).detail;
  } catch {
    return `The gateway answers ${answer.status}.`;
  }
}

// The server's escaped part of the page; a template runs nothing.
function show(html) {
  const part = document.createElement("template");
  part.innerHTML = html;
  result.replaceChildren(part.content);
}

async function run() {
  if (running || runButton.disabled) return;
  running = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  const own = running;
  form.elements.run.value = own;
  runButton.disabled = true;
  runButton.textContent = "Running …";
  cancelButton.hidden = false;
  result.setAttribute("aria-busy", "true");
  try {
    const answer = await post("/explorer/", { statement: editor.text, run: own }, PART);
    if (answer.ok) show(await answer.text());
    else refuse(await problemOf(answer));
  } catch {
    refuse("The gateway does not answer. Check the connection and run the query again.");
  } finally {
    running = "";
    form.elements.run.value = "";
    runButton.disabled = false;
    runButton.textContent = "Run";
    cancelButton.hidden = true;
    result.removeAttribute("aria-busy");
    refreshHistory();
  }
}

async function refreshHistory() {
  const answer = await fetch("/explorer/", { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("history");
  const old = document.getElementById("history");
  if (!fresh || !old) return;
  fresh.open = old.open;
  old.replaceWith(document.adoptNode(fresh));
}

form.addEventListener("submit", (event) => {
  if (event.submitter?.formAction && event.submitter.hasAttribute("formaction")) return; // files, saving: as forms
  event.preventDefault();
  run();
});
form.elements.title.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  document.getElementById("save").click();
});
cancelButton.addEventListener("click", () => running && post("/explorer/cancel", { run: running }, DATA));

page.addEventListener("click", async (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a");
  if (link?.matches(".query")) {
    event.preventDefault();
    const answer = await fetch(link.href, { headers: DATA });
    if (!answer.ok) return refuse(await problemOf(answer));
    const query = await answer.json();
    editor.text = query.statement;
    form.elements.title.value = link.dataset.title ?? "";
    if (link.matches(".now")) await run();
    else editor.view.focus();
  } else if (link?.closest(".pager")) {
    event.preventDefault();
    const answer = await fetch(link.href, { headers: PART });
    if (!answer.ok) return refuse(await problemOf(answer));
    show(await answer.text());
    result.focus({ preventScroll: true });
    result.scrollIntoView({ block: "start" });
  }
});

function tableList(columns) {
  const list = document.getElementById("tables");
  const tables = new Map();
  for (const [database, table, name, type, comment] of columns) {
    const title = database === columns[0][0] ? table : `${database}.${table}`;
    if (!tables.has(title)) tables.set(title, []);
    tables.get(title).push([name, type, comment]);
  }
  for (const [title, rows] of tables) {
    const group = document.createElement("details");
    group.append(Object.assign(document.createElement("summary"), { textContent: title }));
    for (const [name, type, comment] of rows) {
      const column = Object.assign(document.createElement("button"), { type: "button", className: "column", title: comment });
      for (const text of [name, type]) column.append(Object.assign(document.createElement("span"), { textContent: text }));
      column.addEventListener("click", () => editor.insert(/^[A-Za-z_]\w*$/.test(name) ? name : `\`${name}\``));
      group.append(column);
    }
    list.append(group);
  }
  list.hidden = false;
}

fetch("/explorer/schema", { headers: DATA })
  .then((answer) => (answer.ok ? answer.json() : null))
  .then((schema) => {
    if (!schema?.columns.length) return;
    editor.know(schema.columns, schema.functions);
    tableList(schema.columns);
    document.documentElement.dataset.schema = "known";
  });
