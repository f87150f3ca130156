'use strict';

// What moves comes as server-sent events. Without this script, pages show what they were loaded with.
for (const region of document.querySelectorAll('[data-live]')) follow(region, document.querySelector('.live'));

function follow(region, controls) {
  const status = controls.querySelector('[role=status]');
  const button = controls.querySelector('button');
  let source = null;
  let paused = false;

  const say = (state, text) => {
    controls.dataset.state = state;
    if (status.textContent !== text) status.textContent = text;
  };
  const start = () => {
    if (source || paused || document.hidden) return;
    source = new EventSource(region.dataset.live);
    source.onmessage = (event) => {
      say('on', 'Live');
      update(region, event.data);
    };
    source.onerror = () => {
      const ended = source.readyState === EventSource.CLOSED;
      say('off', ended ? 'Not live: reload the page' : 'Not connected, trying again');
    };
  };
  const stop = () => {
    if (source) source.close();
    source = null;
  };

  button.addEventListener('click', () => {
    paused = !paused;
    button.textContent = paused ? 'Follow updates' : 'Pause updates';
    if (paused) {
      stop();
      say('off', 'Paused');
    } else start();
  });
  document.addEventListener('visibilitychange', () => (document.hidden ? stop() : start()));
  addEventListener('pagehide', stop);
  say('off', 'Connecting');
  controls.hidden = false;
  start();
}

// update replaces what has changed. Links and what has the focus stay, as long as the rows are the same.
function update(region, html) {
  const next = document.createElement('template');
  next.innerHTML = html;
  const cells = (root) => [...root.querySelectorAll('[data-k]')];
  const before = cells(region);
  const after = cells(next.content);
  const same = before.length === after.length && before.every((cell, i) => cell.dataset.k === after[i].dataset.k);
  const alerts = (root) => root.querySelectorAll('.alert').length;
  if (!same || alerts(region) !== alerts(next.content)) {
    region.replaceChildren(next.content);
    return;
  }
  before.forEach((cell, i) => {
    if (cell.innerHTML !== after[i].innerHTML) cell.replaceChildren(...after[i].childNodes);
  });
}
