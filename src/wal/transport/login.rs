//! The startup packet and the server's questions about who we are.

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::Transport;
use crate::error::{Error, Kind, Result};
use crate::pg::connect;
use crate::pg::conninfo::ChannelBinding;

impl Transport {
    /// Logs in as a walsender of the database and waits until it is ready.
    pub(super) fn log_in(&mut self, purpose: &str) -> Result<()> {
        let name = connect::application_name(purpose);
        let options = connect::options(&self.info, None);
        let parameters = [
            ("user", self.info.user.as_str()),
            ("database", self.info.database.as_str()),
            ("replication", "database"),
            ("client_encoding", "UTF8"),
            ("application_name", name.as_str()),
            ("options", options.as_str()),
        ];
        frontend::startup_message(parameters, &mut self.outbox).map_err(|e| self.lost(&e))?;
        self.send()?;
        self.authenticate()
            .and_then(|()| self.until_ready())
            .and_then(|_| self.query(connect::UNBOUNDED))
            .map(|_| ())
            .map_err(|e| connect::refused(&self.info, e))
    }

    fn authenticate(&mut self) -> Result<()> {
        let bound = match self.message()? {
            Message::AuthenticationOk => return self.must_be_bound(false),
            Message::AuthenticationCleartextPassword => {
                self.must_be_bound(false)?;
                let password = self.password()?;
                self.answer(password.as_bytes())?;
                false
            }
            Message::AuthenticationMd5Password(body) => {
                self.must_be_bound(false)?;
                let password = self.password()?;
                let user = self.info.user.as_bytes();
                let hash = md5_hash(user, password.as_bytes(), body.salt());
                self.answer(hash.as_bytes())?;
                false
            }
            Message::AuthenticationSasl(body) => self.scram(&body)?,
            _ => {
                return Err(Error::new(
                    Kind::Precondition,
                    "the server asks for an authentication method other than password, md5 and scram-sha-256",
                ));
            }
        };
        match self.message()? {
            Message::AuthenticationOk => self.must_be_bound(bound),
            _ => Err(self.protocol("no answer to the password")),
        }
    }

    /// `channel_binding=require` is worth nothing if a server in between can
    /// simply not ask for it.
    fn must_be_bound(&self, bound: bool) -> Result<()> {
        if !bound && self.info.ssl.channel_binding == ChannelBinding::Require {
            return Err(Error::new(
                Kind::Precondition,
                "the server did not use channel binding",
            ));
        }
        Ok(())
    }

    fn password(&self) -> Result<String> {
        self.info
            .password()
            .ok_or_else(|| Error::new(Kind::Privilege, "password missing"))
    }

    fn answer(&mut self, secret: &[u8]) -> Result<()> {
        frontend::password_message(secret, &mut self.outbox)
            .map_err(|_| Error::new(Kind::Config, "the password contains a zero byte"))?;
        self.send()
    }

    /// SCRAM-SHA-256, bound to the TLS channel where both sides can (RFC 5802,
    /// 7677). Whether it was bound.
    fn scram(&mut self, body: &AuthenticationSaslBody) -> Result<bool> {
        let offered: Vec<String> = body
            .mechanisms()
            .map(|name| Ok(name.to_owned()))
            .collect()
            .map_err(|e| self.lost(&e))?;
        let offers = |name: &str| offered.iter().any(|mechanism| mechanism == name);
        let digest = self
            .socket
            .end_point_digest()
            .filter(|_| self.info.ssl.channel_binding != ChannelBinding::Disable);
        let (mechanism, binding) = match digest {
            Some(digest) if offers(sasl::SCRAM_SHA_256_PLUS) => (
                sasl::SCRAM_SHA_256_PLUS,
                sasl::ChannelBinding::tls_server_end_point(digest),
            ),
            // We could, the server does not: it checks that this is true.
            Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(Error::new(
                Kind::Precondition,
                "the server offers no SCRAM mechanism that can be used here",
            ));
        }
        let bound = mechanism == sasl::SCRAM_SHA_256_PLUS;
        self.must_be_bound(bound)?;
        let mut scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.outbox)
            .map_err(|e| self.lost(&e))?;
        self.send()?;
        let Message::AuthenticationSaslContinue(body) = self.message()? else {
            return Err(self.protocol("no SCRAM challenge"));
        };
        scram.update(body.data()).map_err(|_| self.bad_scram())?;
        frontend::sasl_response(scram.message(), &mut self.outbox).map_err(|e| self.lost(&e))?;
        self.send()?;
        let Message::AuthenticationSaslFinal(body) = self.message()? else {
            return Err(self.protocol("no SCRAM verifier"));
        };
        scram.finish(body.data()).map_err(|_| self.bad_scram())?;
        Ok(bound)
    }

    fn bad_scram(&self) -> Error {
        Error::new(
            Kind::Privilege,
            "the server could not prove in SCRAM that it knows the password",
        )
        .remedy("check that this is the right server")
    }
}
