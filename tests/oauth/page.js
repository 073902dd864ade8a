// The provider's own page: one form, on which a person says who they are and agrees, or does not.
import { readBody } from './http.js';

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

const page = (uid, client) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign in at the provider</title>
<h1>Sign in at the provider</h1>
<p>${escape(client)} wants to know who you are, and your e-mail address.</p>
<form method="post" action="/interaction/${escape(uid)}">
<p><label>Login <input name="login" autocomplete="username"></label></p>
<p><button name="choice" value="continue">Continue</button> <button name="choice" value="cancel">Cancel</button></p>
</form>
</html>
`;

/** Answers /interaction/UID, to which the provider sends a browser that it does not know or that has not agreed yet. */
export async function interact(provider, accounts, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(page(details.uid, details.params.client_id));
    return;
  }
  const form = new URLSearchParams(await readBody(request));
  const login = (form.get('login') ?? '').trim();
  if (form.get('choice') !== 'continue') {
    const result = { error: 'access_denied', error_description: 'The person said no.' };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    return;
  }
  const known = details.session?.accountId;
  const accountId = login ? accounts.signIn(login) : (known ?? accounts.signIn('somebody'));
  const grant = new provider.Grant({ accountId, clientId: details.params.client_id });
  grant.addOIDCScope('openid email');
  const result = { login: { accountId, remember: false }, consent: { grantId: await grant.save() } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}
