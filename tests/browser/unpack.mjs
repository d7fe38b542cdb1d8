// Unpack Chromium beside this file: the program, and the libraries that a bare Linux lacks.
import { createReadStream, createWriteStream } from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";

const here = dirname(fileURLToPath(import.meta.url));
const packed = (name) => createReadStream(join(here, "node_modules/@sparticuz/chromium/bin", name));

await pipeline(
  packed("chromium.br"),
  createBrotliDecompress(),
  createWriteStream(join(here, "chromium"), { mode: 0o755 }),
);
await pipeline(packed("al2023.tar.br"), createBrotliDecompress(), extract(here));
