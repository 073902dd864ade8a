// A script and all that it imports, as CommonJS: each virtual user then loads them into a context of its own.

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

import ts from 'typescript';

/**
 * @param {string} entry The path of the script.
 * @returns {{ entry: string, files: Record<string, string> }} Compiled code by absolute path.
 */
export function load(entry) {
  /** @type {Record<string, string>} */
  const files = {};
  /** @param {string} path */
  const add = (path) => {
    if (path in files) {
      return;
    }
    const source = readFileSync(path, 'utf8');
    const { outputText } = ts.transpileModule(source, {
      fileName: path,
      compilerOptions: {
        module: ts.ModuleKind.CommonJS,
        target: ts.ScriptTarget.ES2022,
        esModuleInterop: true,
        allowJs: true,
      },
    });
    files[path] = outputText;
    for (const { fileName } of ts.preProcessFile(source).importedFiles) {
      // JSDoc's import types are in that list as well; they import nothing.
      if (fileName.startsWith('.') && outputText.includes(`require("${fileName}")`)) {
        add(resolve(dirname(path), fileName));
      }
    }
  };
  const path = resolve(entry);
  add(path);
  return { entry: path, files };
}
