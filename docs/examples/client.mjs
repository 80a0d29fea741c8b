// Asks a vidsim server: node client.mjs CLIP [URL]; VIDSIM_SERVE_TOKEN is its token, if it has one.
// It sends the clip once, ranks the stored videos by likeness to it, and again with other weights.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

const [clip, url = "http://127.0.0.1:8000"] = process.argv.slice(2);
const authorization = `Bearer ${process.env.VIDSIM_SERVE_TOKEN ?? ""}`;

async function ask(method, path, body, type) {
  const headers = { authorization, ...(type && { "content-type": type }) };
  const answer = await fetch(new URL(path, url), { method, headers, body });
  if (answer.status === 429) {
    const seconds = Number(answer.headers.get("retry-after"));
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    return ask(method, path, body, type);
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error.message);
  return said;
}

const name = encodeURIComponent(basename(clip));
const bytes = "application/octet-stream";
const { upload } = await ask("POST", `/v1/uploads?name=${name}`, await readFile(clip), bytes);
for (const weights of [null, { color: 2 }]) {
  const asked = JSON.stringify({ clips: [{ upload }], k: 5, weights });
  const found = await ask("POST", "/v1/query", asked, "application/json");
  if (found.nothing_alike) console.log("Nothing here is much like it.");
  for (const each of found.results) {
    const at = each.moments[0].start_s.toFixed(1);
    console.log(`${each.likeness.toFixed(2)} ${each.word} ${each.video_id} at ${at} s`);
  }
}
