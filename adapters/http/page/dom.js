// The few things that all of the page does with its elements. Whatever comes from outside becomes text, never markup.

/** The element of this id. */
export const $ = (id) => document.getElementById(id);

/** Makes an element. Properties with a hyphen are attributes; what follows becomes its content. */
export function make(tag, properties = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...content);
  return element;
}

/** Sets a text, if it is another than before: assistive technology is told of every change. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === '';
}

/** Shows a share of a whole, in 0..=1; `null` while it is not known. */
export function fill(progress, share) {
  if (share === null) progress.removeAttribute('value');
  else progress.value = share;
}

/** Says something to those who don't see it happen. */
export function say(text) {
  $('said').textContent = text;
}

/** Asks before something is done that can't be undone. Each question is a dialog of its own. */
export function ask(question, no, yes) {
  const dialog = make('dialog', { 'aria-label': question });
  const button = (textContent, className, answer) => {
    const made = make('button', { type: 'button', className, textContent });
    made.addEventListener('click', () => dialog.close(answer));
    return made;
  };
  const buttons = make('div', { className: 'actions' }, button(no, '', 'no'), button(yes, 'danger', 'yes'));
  dialog.append(make('p', { textContent: question }), buttons);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
  });
}

/**
 * Shows a list: for each item the row of its key, made by `open` when it is new. Rows that stay are not moved, so that
 * they keep the focus and what they play.
 */
export function arrange(list, rows, items, key, open) {
  const wanted = new Set(items.map(key));
  for (const [id, row] of rows) {
    if (wanted.has(id)) continue;
    const hadFocus = row.element.contains(document.activeElement);
    const next = row.element.nextElementSibling ?? row.element.previousElementSibling ?? list.previousElementSibling;
    row.close?.();
    row.element.remove();
    rows.delete(id);
    if (hadFocus) (next?.hidden ? $('title') : next ?? $('title')).focus();
  }
  items.forEach((item, n) => {
    const id = key(item);
    if (!rows.has(id)) rows.set(id, open(item));
    const row = rows.get(id);
    row.update(item);
    if (list.children[n] !== row.element) list.insertBefore(row.element, list.children[n] ?? null);
  });
}
