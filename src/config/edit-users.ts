import { isMap, parseDocument } from 'yaml';

/** The text of a configuration file with one more user, comments and all as they were. @param text that parseYaml takes */
export function withUser(text: string, name: string): string {
  const document = parseDocument(text);
  const users = document.get('users');
  const none = document.createNode({}, { flow: true });
  if (isMap(users) && users.items.length > 0) users.set(name, none);
  else document.set('users', document.createNode({ [name]: none }));
  return document.toString({ lineWidth: 0 });
}

/** The same without a user, and as it is where that one is not there. */
export function withoutUser(text: string, name: string): string {
  const document = parseDocument(text);
  if (!document.hasIn(['users', name])) return text;
  document.deleteIn(['users', name]);
  return document.toString({ lineWidth: 0 });
}
