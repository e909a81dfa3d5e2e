// The SQL editor of /explorer/: CodeMirror 6 with ClickHouse's words.
//
// Belongs here: what the editor is made of. Does not belong here: the page around it (static/explorer.js).
// Bundled by `make editor`; the bundle is committed, so that nothing but a change of this file needs npm.

import { autocompletion, closeBrackets, closeBracketsKeymap, completeFromList, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { keywordCompletionSource, schemaCompletionSource, SQLDialect, StandardSQL } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, indentOnInput, LanguageSupport, syntaxHighlighting } from "@codemirror/language";
import { Compartment, EditorState, Prec } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const KEYWORDS =
  "all alias anti any array as asc ascending asof between both by case cast collate columns cross current database " +
  "databases dates desc descending describe distinct else end escape except exists explain extract false fill final first " +
  "following for format from full global group grouping having if ilike in inner interpolate intersect interval into is " +
  "join last leading left like limit materialized natural not null nulls offset on or order outer over paste partition " +
  "preceding prewhere qualify range recursive replace right rollup row rows sample select semi sets show step tables then " +
  "ties to totals trailing true unbounded union using values view when where window with cube " +
  "and apply";
const TYPES =
  "array bool date date32 datetime datetime64 decimal decimal128 decimal256 decimal32 decimal64 dynamic enum enum16 enum8 " +
  "fixedstring float32 float64 int128 int16 int256 int32 int64 int8 ipv4 ipv6 json lowcardinality map nested nothing " +
  "nullable string tuple uint128 uint16 uint256 uint32 uint64 uint8 uuid variant";

function dialect(functions) {
  return SQLDialect.define({
    keywords: KEYWORDS,
    types: TYPES,
    builtin: functions.map((name) => name.toLowerCase()).join(" "),
    backslashEscapes: true,
    doubleQuotedStrings: false,
    doubleDollarQuotedStrings: true,
    hashComments: true,
    slashComments: false,
    spaceAfterDashes: false,
    identifierQuotes: '`"',
    operatorChars: "*+-%<>!=&|~^/?:",
    specialVar: "",
    caseInsensitiveIdentifiers: false,
  });
}

const words = dialect([]);

// columns: [database, table, name, type, comment]; those of the first database need no prefix.
function language(columns, functions) {
  const own = columns.length ? columns[0][0] : "";
  const schema = {};
  for (const [database, table, name, type, comment] of columns) {
    const tables = database === own ? schema : (schema[database] ??= {});
    (tables[table] ??= []).push({ label: name, type: "property", detail: type, info: comment || undefined });
  }
  // Columns are wanted long before their table is written: those of the events complete everywhere.
  const loose = new Map();
  for (const [database, table, name, type, comment] of columns)
    if (database === own && !loose.has(name))
      loose.set(name, { label: name, type: "property", detail: type, info: comment || undefined, boost: 1 });
  const calls = functions.map((name) => ({ label: name, type: "function", boost: -50 }));
  const known = dialect(functions);
  const afterDot = /\.\w*$/;
  const notAfterDot = (source) => (context) => (context.matchBefore(afterDot) ? null : source(context));
  return new LanguageSupport(known.language, [
    known.language.data.of({ autocomplete: schemaCompletionSource({ dialect: known, schema }) }),
    known.language.data.of({ autocomplete: notAfterDot(completeFromList([...loose.values(), ...calls])) }),
    known.language.data.of({ autocomplete: notAfterDot(keywordCompletionSource(words, true)) }),
  ]);
}

const colours = HighlightStyle.define([
  { tag: tags.keyword, class: "tok-keyword" },
  { tag: tags.typeName, class: "tok-type" },
  { tag: tags.standard(tags.name), class: "tok-function" },
  { tag: [tags.string, tags.special(tags.string)], class: "tok-string" },
  { tag: [tags.number, tags.bool, tags.null], class: "tok-number" },
  { tag: [tags.lineComment, tags.blockComment], class: "tok-comment" },
]);

// Text that is typed over a selection is replaced here: the browser would keep the colours of what it deletes, as inline
// styles, which the page's policy blocks and reports.
const typingOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const { from, to, empty } = view.state.selection.main;
    if (empty || event.inputType !== "insertText" || event.data == null || view.composing) return false;
    const insert = () => view.state.update(view.state.replaceSelection(event.data), { userEvent: "input.type", scrollIntoView: true });
    event.preventDefault();
    if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, event.data, insert))) view.dispatch(insert());
    return true;
  },
});

// Puts the editor in the place of a textarea, which keeps the text for the form.
export function mount(textarea, { nonce, label, onRun }) {
  const speech = new Compartment();
  const view = new EditorView({
    doc: textarea.value,
    extensions: [
      EditorView.cspNonce.of(nonce),
      Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => (onRun(), true) }])),
      lineNumbers(),
      history(),
      drawSelection(),
      indentOnInput(),
      bracketMatching(),
      closeBrackets(),
      autocompletion({ icons: false }),
      highlightActiveLine(),
      EditorView.lineWrapping,
      EditorState.tabSize.of(4),
      syntaxHighlighting(colours),
      typingOver,
      placeholder("SELECT …"),
      speech.of(language([], [])),
      EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", autocapitalize: "off" }),
      EditorView.updateListener.of((update) => {
        if (update.docChanged) textarea.value = update.state.doc.toString();
      }),
      // Esc and then Tab leaves the editor: CodeMirror's own rule of indentWithTab.
      keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, indentWithTab]),
    ],
  });
  textarea.hidden = true;
  textarea.after(view.dom);
  return {
    view,
    get text() {
      return view.state.doc.toString();
    },
    set text(text) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, selection: { anchor: 0 } });
    },
    insert(text) {
      view.dispatch(view.state.replaceSelection(text));
      view.focus();
    },
    know(columns, functions) {
      view.dispatch({ effects: speech.reconfigure(language(columns, functions)) });
    },
  };
}
