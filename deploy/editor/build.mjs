// Makes static/editor.js, with the licences of what is in it at its head.
import { build } from "esbuild";
import { readFileSync } from "node:fs";

const out = "../../wotr_pipeline/gateway/static/editor.js";
const { metafile } = await build({
  entryPoints: ["editor.js"],
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  write: false,
  metafile: true,
});
const packages = [...new Set(Object.keys(metafile.inputs).map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean))].sort();
const notices = packages.map((name) => {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  return `${name} ${version} (${license})`;
});
const licences = packages.map((name) => readFileSync(`node_modules/${name}/LICENSE`, "utf8"));
const holders = [...new Set(licences.map((text) => /^Copyright.*$/m.exec(text)[0].trim()))].sort();
const licence = licences[0].slice(licences[0].indexOf("Permission is hereby granted")).trim();
const banner = `/* Made by \`make editor\` from deploy/editor/; do not edit.\n\nHolds: ${notices.join(", ")}.\nAll of them under the MIT License:\n\n${holders.join("\n")}\n\n${licence}\n*/`;
await build({
  entryPoints: ["editor.js"],
  bundle: true,
  format: "esm",
  minify: true,
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  banner: { js: banner },
  outfile: out,
});
