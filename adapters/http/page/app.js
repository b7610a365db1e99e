// The page: who is signed in sees an upload area, uploads and jobs; everybody else a form to sign in.
//
// session.js knows who that is, api.js makes the calls. uploads.js and jobs.js hold what is going on and call back with
// every change; upload-row.js and job-row.js show it. Here all of it is put together.
import { signIn } from './api.js';
import { $, arrange, say, write } from './dom.js';
import { JobRow } from './job-row.js';
import { Jobs } from './jobs.js';
import * as options from './options.js';
import { session } from './session.js';
import { texts } from './texts.js';
import { UploadRow } from './upload-row.js';
import { Uploads } from './uploads.js';

let underWay = '';
const rows = { uploads: new Map(), jobs: new Map() };
const uploads = new Uploads(showUploads, uploaded, () => jobs.refresh());
const jobs = new Jobs(showJobs, statusChanged, () => uploads.list.filter((upload) => upload.isActive).length);

function fillIn() {
  for (const element of document.querySelectorAll('[data-text]')) element.textContent = texts[element.dataset.text];
  $('files').ariaLabel = texts.choose;
  options.show();
}

// Signing in and out.

function showSession(why) {
  const isIn = session.token !== null;
  $('signed-in').hidden = !isIn;
  $('signed-out').hidden = isIn;
  $('account').hidden = !isIn;
  write($('who'), session.email ?? '');
  write($('why'), texts.ended[why] ?? '');
  document.title = `${isIn ? texts.title : texts.signInTitle} · microserve`;
}

function sessionChanged(why) {
  // Nobody sees what is somebody else's, not even for a moment.
  jobs.clear();
  showSession(why);
  if (session.token) {
    $('email').value = session.email;
    uploads.release();
    jobs.refresh();
    $('title').focus();
  } else {
    uploads.hold();
    document.querySelector('dialog')?.close();
    $($('email').value ? 'password' : 'email').focus();
  }
}

async function submitted(event) {
  event.preventDefault();
  const [email, password, button] = [$('email'), $('password'), $('sign-in-button')];
  write($('refused'), '');
  const missing = [email, password].find((input) => input.value.trim() === '');
  if (missing) {
    write($('refused'), texts.fillIn);
    missing.focus();
    return;
  }
  [button.disabled, button.textContent] = [true, texts.signingIn];
  try {
    await signIn(email.value.trim(), password.value);
    password.value = '';
  } catch (err) {
    write($('refused'), err.message);
    password.select();
    password.focus();
  } finally {
    [button.disabled, button.textContent] = [false, texts.signIn];
  }
}

// Files.

function take(files, notTaken) {
  const chosen = options.read();
  if (!chosen) {
    write($('not-taken'), texts.optionsWrong);
    return;
  }
  const problems = [];
  for (const file of files) {
    if (file.size === 0) notTaken.push(file.name);
    else if (uploads.add(file, chosen)) say(texts.begun(file.name));
    else problems.push(texts.alreadyThere(file.name));
  }
  if (notTaken.length > 0) problems.push(texts.notTaken(notTaken));
  write($('not-taken'), problems.join(' '));
}

function dropped(event) {
  event.preventDefault();
  $('drop').classList.remove('over');
  if (!session.token) return;
  // A folder looks like a file that can't be read.
  const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file');
  const isFolder = (item) => item.webkitGetAsEntry?.()?.isDirectory === true;
  const named = (item) => item.webkitGetAsEntry().name;
  const files = items.filter((item) => !isFolder(item)).map((item) => item.getAsFile());
  take(files, items.filter(isFolder).map(named));
}

function uploaded(upload) {
  say(texts.uploaded(upload.name));
  jobs.load(upload.id).catch(() => jobs.refresh());
}

// What is shown.

function showUploads() {
  $('uploads').hidden = uploads.list.length === 0;
  const open = (upload) => new UploadRow(upload, uploads);
  arrange($('upload-list'), rows.uploads, uploads.list, (upload) => upload.key, open);
  // A job that is being uploaded from here is shown once.
  const ids = uploads.list.map((upload) => upload.id).join();
  if (ids !== underWay) showJobs();
  underWay = ids;
}

function showJobs() {
  const shown = jobs.list.filter((job) => uploads.list.every((upload) => upload.id !== job.job_id));
  arrange($('job-list'), rows.jobs, shown, (job) => job.job_id, (job) => new JobRow(job, jobs));
  $('none').hidden = !jobs.isKnown || shown.length > 0;
  $('more').hidden = !jobs.hasMore;
  write($('trouble'), session.token && jobs.problem ? jobs.problem.message : '');
}

function statusChanged(job) {
  const words = { done: texts.ready, failed: texts.failed, cancelled: texts.cancelled }[job.status];
  if (words) say(words(job.filename));
}

function listen() {
  $('sign-in').addEventListener('submit', submitted);
  $('sign-out').addEventListener('click', () => session.end('signedOut'));
  session.onChange(sessionChanged);

  $('choose').addEventListener('click', () => $('files').click());
  $('files').addEventListener('change', () => {
    take([...$('files').files], []);
    // The same file may be chosen again.
    $('files').value = '';
  });
  // Anywhere, so that nobody leaves the page by missing the spot.
  addEventListener('dragover', (event) => {
    event.preventDefault();
    $('drop').classList.add('over');
  });
  addEventListener('dragleave', (event) => event.relatedTarget ?? $('drop').classList.remove('over'));
  addEventListener('drop', dropped);

  $('more').addEventListener('click', async () => {
    await jobs.more();
    if ($('more').hidden) $('jobs-title').focus();
  });

  document.addEventListener('visibilitychange', () => (document.hidden ? jobs.pause() : jobs.refresh()));
  addEventListener('focus', () => jobs.refresh());
  addEventListener('online', () => {
    uploads.goOn();
    jobs.refresh();
  });
  addEventListener('beforeunload', (event) => {
    if (uploads.list.some((upload) => upload.isActive || upload.state === 'waiting')) event.preventDefault();
  });
}

fillIn();
listen();
$('email').value = session.email ?? '';
showSession();
jobs.refresh();
