//! An issuer of bearer tokens, as a provider of `OpenID` is one.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub const ISSUER: &str = "https://id.example.eu/";
pub const AUDIENCE: &str = "andromede";

pub struct Issuer {
    key: EcdsaKeyPair,
    pub kid: String,
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// What a good token says.
pub fn claims(role: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 300, "andromede_role": role})
}

impl Issuer {
    pub fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { key, kid: kid.to_owned() }
    }

    /// The public key: 4, x, y.
    pub fn point(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// The public key as a member of a JSON Web Key Set.
    pub fn member(&self) -> Value {
        let (x, y) = (encode(&self.point()[1..33]), encode(&self.point()[33..]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y})
    }

    /// A set of keys with this one.
    pub fn set(&self) -> String {
        json!({"keys": [self.member()]}).to_string()
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.kid}), claims)
    }
}

/// Puts a token into every call.
#[derive(Clone)]
pub struct Shown(MetadataValue<Ascii>);

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub type Calls = InterceptedService<Channel, Shown>;

/// Calls over this connection with a token.
pub fn with_token(channel: Channel, token: &str) -> Calls {
    InterceptedService::new(channel, Shown(format!("Bearer {token}").parse().unwrap()))
}
