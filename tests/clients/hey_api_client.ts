// Sends two photos and options with @hey-api/openapi-ts, as a form and as JSON; prints the answers.
import { openAsBlob } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { client as formClient } from './hey-api/form/client.gen.js';
import { predict as predictForm } from './hey-api/form/index.js';
import { client as jsonClient } from './hey-api/json/client.gen.js';
import { predict, readyz } from './hey-api/json/index.js';
import type { PredictResponse } from './hey-api/json/index.js';

const [baseUrl, ...files] = process.argv.slice(2);
formClient.setConfig({ baseUrl });
jsonClient.setConfig({ baseUrl });
const options = { include_labels: ['bedroom', 'sofa', 'bed'], all_scores: true };

const images: Blob[] = await Promise.all(files.map((file) => openAsBlob(file)));
const form = await predictForm({ body: { images, ...options }, throwOnError: true });

const encoded = await Promise.all(files.map((file) => readFile(file, 'base64')));
const body = { images: encoded.map((data) => ({ data })), ...options };
const json = await predict({ body, throwOnError: true });

const labels = (data: PredictResponse): number[] =>
  data.results.map((each) => (each.status === 'ok' ? each.labels.length : -1));
const ready: 'ok' | undefined = (await readyz({ throwOnError: true })).data.status;
console.log(
  JSON.stringify({
    name: form.data.model.name,
    labels: labels(form.data),
    labelsOfJson: labels(json.data),
    ready,
  }),
);
