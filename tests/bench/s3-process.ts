import { startS3Server } from '../harness/s3-server.ts';

/*
 * bun s3-process.ts FOLDER
 *
 * An S3 server as its own process, with as many objects per page of a list as S3 has. Prints its bucket, and the settings
 * with which the program reaches it, as JSON.
 */
const { bucket, env } = await startS3Server(process.argv[2] ?? '', undefined, { pageObjects: 1_000 });
console.log(JSON.stringify({ bucket, env }));
