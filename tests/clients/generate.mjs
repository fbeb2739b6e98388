// Writes a client of each TypeScript generator from openapi.yaml in this folder.
import { writeFile, mkdir } from 'node:fs/promises';
import { createClient } from '@hey-api/openapi-ts';
import openapiTS, { astToString } from 'openapi-typescript';
import ts from 'typescript';

const BLOB = ts.factory.createTypeReferenceNode('Blob');
const types = await openapiTS(new URL('openapi.yaml', import.meta.url), {
  defaultNonNullable: false, // an option with a default may be left out of a request
  transform: (schema) => (schema.format === 'binary' ? BLOB : undefined),
});
await mkdir('fetch', { recursive: true });
await writeFile('fetch/schema.d.ts', astToString(types));

// This generator makes one function for an operation: from its JSON body, if there is one.
const asForm = (operation) => {
  delete operation.requestBody.content['application/json'];
};
const json = { input: 'openapi.yaml', output: { path: 'hey-api/json', importFileExtension: '.js' } };
const form = { input: 'openapi.yaml', output: { path: 'hey-api/form', importFileExtension: '.js' } };
await createClient(json);
await createClient({ ...form, parser: { patch: { operations: { 'POST /predict': asForm } } } });
