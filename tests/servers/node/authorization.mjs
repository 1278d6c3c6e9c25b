// An authorization server for the tests: oidc-provider over TLS, with a door of its own (/test) for what tests change.
// Its one argument is JSON: issuer, port, key, certificate, parts (the folder with node_modules).
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(process.argv[2]);
const require = createRequire(`${settings.parts}/package.json`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

// What a test can change while the server runs. Times are in seconds.
const options = {
  accessToken: 3600, refreshToken: 86400, deviceCode: 600, rotate: true, issueRefresh: true, clientUser: '', mailOf: {},
};
const clients = new Map();
const rows = new Map(); // model:id -> { payload, expires }
const asked = []; // the parameters that reached the token endpoint, without secrets

class Adapter {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  found(id) {
    const row = rows.get(this.key(id));
    if (!row || (row.expires && row.expires < Date.now())) return undefined;
    return row.payload;
  }
  where(test) {
    for (const [key, row] of rows) if (key.startsWith(`${this.model}:`) && test(row.payload)) return row.payload;
    return undefined;
  }
  async upsert(id, payload, seconds) {
    rows.set(this.key(id), { payload, expires: seconds ? Date.now() + seconds * 1000 : 0 });
  }
  async find(id) { return this.model === 'Client' ? clients.get(id) : this.found(id); }
  async findByUserCode(code) { return this.where((payload) => payload.userCode === code); }
  async findByUid(uid) { return this.where((payload) => payload.uid === uid); }
  async consume(id) { this.found(id).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { rows.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [key, row] of rows) if (row.payload.grantId === grantId) rows.delete(key);
  }
}

const provider = new Provider(settings.issuer, {
  adapter: Adapter,
  cookies: { keys: ['for tests'] },
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
  scopes: ['openid', 'offline_access', 'email', 'profile', 'mail', 'https://mail.google.com/',
    'https://outlook.office.com/SMTP.Send', 'https://outlook.office.com/IMAP.AccessAsUser.All',
    'https://outlook.office.com/POP.AccessAsUser.All', 'https://outlook.office365.com/.default'],
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    rpInitiatedLogout: { enabled: false },
  },
  ttl: {
    AccessToken: () => options.accessToken,
    ClientCredentials: () => options.accessToken,
    RefreshToken: () => options.refreshToken,
    DeviceCode: () => options.deviceCode,
    Grant: () => 86400, Interaction: () => 3600, Session: () => 3600, IdToken: () => 3600,
  },
  rotateRefreshToken: () => options.rotate,
  issueRefreshToken: () => options.issueRefresh,
  extraTokenClaims: (ctx, token) => ({ username: token.accountId ?? options.clientUser }), // for introspection
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: options.mailOf[id] ?? id, email_verified: true, preferred_username: id }),
  }),
});

provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/token' && ctx.oidc?.params) {
    const { grant_type: grant, scope, client_id: client } = ctx.oidc.params;
    asked.push({ grant, scope, client: client ?? ctx.oidc.client?.clientId, status: ctx.status, error: ctx.body?.error });
  }
});

async function bodyOf(request) {
  const parts = [];
  for await (const part of request) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString() || '{}');
}

function revoke({ account, kinds }) { // all that was granted to an account; kinds: only these models
  for (const [key, row] of rows) {
    const model = key.split(':')[0];
    if (row.payload.accountId === account && (!kinds || kinds.includes(model))) rows.delete(key);
  }
}

const doors = {
  '/test/options': async (body) => Object.assign(options, body),
  '/test/client': async (body) => { clients.set(body.client_id, body); },
  '/test/revoke': async (body) => revoke(body),
  '/test/asked': async () => asked,
};

const callback = provider.callback();
createServer({ key: readFileSync(settings.key), cert: readFileSync(settings.certificate) }, async (request, response) => {
  const door = doors[request.url];
  if (!door) return callback(request, response);
  const answer = await door(await bodyOf(request));
  response.setHeader('content-type', 'application/json');
  return response.end(JSON.stringify(answer ?? {}));
}).listen(settings.port, '127.0.0.1');
