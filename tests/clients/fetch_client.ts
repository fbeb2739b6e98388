// Sends two photos and options with openapi-typescript and openapi-fetch; prints the answer.
import { openAsBlob } from 'node:fs';
import createClient from 'openapi-fetch';
import type { components, paths } from './fetch/schema.js';

const [baseUrl, ...files] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl });
const images = await Promise.all(files.map((file) => openAsBlob(file)));
const form: components['schemas']['PredictForm'] = {
  images,
  include_labels: ['bedroom', 'sofa', 'bed'],
  all_scores: true,
};
const { data, error } = await client.POST('/predict', {
  body: form,
  bodySerializer: (body) => {
    const data = new FormData();
    for (const [name, value] of Object.entries(body as typeof form))
      for (const each of [value].flat()) data.append(name, each instanceof Blob ? each : String(each));
    return data;
  },
});
if (!data) throw new Error(typeof error === 'string' ? error : error.detail);
const labels: number[] = data.results.map((each) => (each.status === 'ok' ? each.labels.length : -1));
const name: string = data.model.name;
const failed = await client.GET('/readyz');
const ready: 'ok' | undefined = failed.data?.status;
console.log(JSON.stringify({ name, labels, ready }));
