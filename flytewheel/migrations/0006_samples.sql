-- Drift: small fixed samples of all interactions, by a hash of their ids, so that a look at a large window reads some thousand rows.
CREATE INDEX IF NOT EXISTS interactions_in_8 ON interactions (source, xid) WHERE hashtextextended(interaction_id, 0) & 7 = 0;
CREATE INDEX IF NOT EXISTS interactions_in_64 ON interactions (source, xid) WHERE hashtextextended(interaction_id, 0) & 63 = 0;
CREATE INDEX IF NOT EXISTS interactions_in_512 ON interactions (source, xid) WHERE hashtextextended(interaction_id, 0) & 511 = 0;
