//! One row of the log to a change, whatever its table is like.

use super::Error;
use super::identities::TableNumber;
use super::plan::{Image, TablePlan};
use super::translate::{Pause, RowValues as _, Translator, indexed_key, local_key};
use crate::change::{Change, Identity, Kind};
use crate::record::{IdentityBytes, fingerprint};
use crate::schema_map::BoundIdentity;
use crate::value::Value;

/// One row on its way to a change. Nothing but the identity index changes before everything the
/// row needs is known, and what is noted there holds however often the row is tried.
pub(super) struct Step<'t, 'p> {
    pub(super) plan: &'p TablePlan,
    pub(super) translator: Translator<'t>,
    /// Rows met that have no identity yet.
    pub(super) nameless: u64,
}

impl Step<'_, '_> {
    pub(super) fn insert<'a>(&mut self, row: &Image<'a, '_>) -> Result<Option<Change<'a>>, Pause> {
        let identity = self.translator.identity(&self.plan.bound, row)?;
        self.note(None, Some(row))?;
        if Translator::left_out(&self.plan.bound, row)? {
            return Ok(None);
        }
        let Some(identity) = identity else {
            self.nameless += 1;
            return Ok(None);
        };
        self.whole(identity, row).map(Some)
    }

    fn whole<'a>(
        &mut self,
        identity: Identity<'a>,
        row: &Image<'a, '_>,
    ) -> Result<Change<'a>, Pause> {
        let mut values = self.plan.naming();
        values.extend(self.values(&self.plan.value_columns, row)?);
        Ok(Change {
            shape: self.plan.insert.clone(),
            kind: Kind::Insert,
            identity,
            previous: None,
            values,
            base: None,
        })
    }

    pub(super) fn update<'a>(
        &mut self,
        before: &Image<'a, '_>,
        after: &Image<'a, '_>,
    ) -> Result<Option<Change<'a>>, Pause> {
        let plan = self.plan;
        let renamed = plan.identity_columns.iter().any(|column| before.differs(after, *column));
        let rekeyed = plan.bound.local_key.is_some_and(|key| before.differs(after, key));
        let changed = plan.changed(before, after);
        if changed.is_empty() && !renamed && !rekeyed && plan.bound.rows_left_out.is_empty() {
            return Ok(None);
        }
        // The old name is asked for before the new one is noted under the same key.
        let named = self.translator.identity(&plan.bound, after)?;
        let former = if renamed || named.is_none() { self.former(before)? } else { None };
        let old = if renamed { self.called(before, former.as_ref())? } else { None };
        let is_named = named.is_some();
        let identity = named.or_else(|| old.clone().or_else(|| known(former.as_ref())));
        let was_out = Translator::left_out(&plan.bound, before)?;
        let is_out = Translator::left_out(&plan.bound, after)?;
        let old_values = self.values(&changed, before)?;
        if former.is_some() {
            // What is noted below is what it was known by: nothing may have to be asked after it.
            self.values(&changed, after)?;
        }
        if renamed || rekeyed {
            self.note(rekeyed.then_some(before), is_named.then_some(after))?;
            self.remember(former.as_ref(), (!is_named).then_some(after), identity.as_ref())?;
        }
        let Some(identity) = identity else {
            self.nameless += 1;
            return Ok(None);
        };
        let was_nameless = renamed && old.is_none();
        if is_out {
            let gone = old.unwrap_or(identity);
            return Ok((!was_out).then(|| Change {
                shape: plan.delete.clone(),
                kind: Kind::Delete,
                identity: gone,
                previous: None,
                values: plan.naming(),
                base: None,
            }));
        }
        if was_out || was_nameless {
            return self.whole(identity, after).map(Some);
        }
        let previous = old.filter(|old| *old != identity);
        if changed.is_empty() && previous.is_none() {
            return Ok(None);
        }
        let mut values = plan.naming();
        values.extend(self.values(&changed, after)?);
        Ok(Some(Change {
            shape: plan.update_shape(&changed),
            kind: Kind::Update,
            identity,
            previous,
            values,
            base: Some(fingerprint(&old_values)),
        }))
    }

    pub(super) fn delete<'a>(&mut self, row: &Image<'a, '_>) -> Result<Option<Change<'a>>, Pause> {
        let former = self.former(row)?;
        let identity = self.called(row, former.as_ref())?;
        let out = Translator::left_out(&self.plan.bound, row)?;
        let values = self.values(&self.plan.value_columns, row)?;
        self.note(Some(row), None)?;
        self.remember(former.as_ref(), None, None)?;
        let Some(identity) = identity else { return Ok(None) };
        if out {
            return Ok(None);
        }
        Ok(Some(Change {
            shape: self.plan.delete.clone(),
            kind: Kind::Delete,
            identity,
            previous: None,
            values: self.plan.naming(),
            base: Some(fingerprint(&values)),
        }))
    }

    fn values<'a>(
        &mut self,
        columns: &[usize],
        row: &Image<'a, '_>,
    ) -> Result<Vec<Value<'a>>, Pause> {
        columns.iter().map(|column| self.translator.value(&self.plan.bound, *column, row)).collect()
    }

    /// What a row whose identity was taken away was called before: the other end still calls it that.
    fn former(&mut self, row: &Image<'_, '_>) -> Result<Option<Former>, Pause> {
        let plan = self.plan;
        let (BoundIdentity::Column(column), Some(key)) =
            (&plan.bound.identity, plan.bound.local_key)
        else {
            return Ok(None);
        };
        if !row.value(*column)?.is_null() {
            return Ok(None);
        }
        let Some(local) = local_key(&row.value(key)?) else { return Ok(None) };
        let Some(kept) = self.translator.identities.get(plan.number, local)? else {
            return Ok(None);
        };
        Ok(match kept.identity()?.into_owned() {
            Identity::Lost(_) => None,
            identity => Some(Former { key: (plan.number, local), identity }),
        })
    }

    /// What a row is called, or was.
    fn called<'a>(
        &mut self,
        row: &Image<'a, '_>,
        former: Option<&Former>,
    ) -> Result<Option<Identity<'a>>, Pause> {
        let identity = self.translator.identity(&self.plan.bound, row)?;
        Ok(identity.or_else(|| known(former)))
    }

    /// Keeps in mind what a row without an identity was called, whether or not others refer to its
    /// table, until it has one again or is gone.
    fn remember(
        &mut self,
        former: Option<&Former>,
        here: Option<&Image<'_, '_>>,
        identity: Option<&Identity<'_>>,
    ) -> Result<(), Error> {
        let plan = self.plan;
        let indexed = plan.bound.referenced;
        if let Some(Former { key: (number, local), .. }) = former
            && (here.is_some() || !indexed)
        {
            self.translator.identities.remove(*number, *local);
        }
        if let (Some(row), Some(identity), Some(key)) = (here, identity, plan.bound.local_key)
            && matches!(plan.bound.identity, BoundIdentity::Column(_))
            && let Some(local) = local_key(&row.value(key)?)
        {
            self.translator.identities.put(plan.number, local, IdentityBytes::new(identity))?;
        }
        Ok(())
    }

    /// Keeps the identity index as the log says.
    fn note(
        &mut self,
        gone: Option<&Image<'_, '_>>,
        here: Option<&Image<'_, '_>>,
    ) -> Result<(), Pause> {
        let plan = self.plan;
        if let Some(row) = gone
            && let Some((number, local)) = indexed_key(&plan.bound, plan.number, row)?
        {
            self.translator.identities.remove(number, local);
        }
        if let Some(row) = here
            && let Some((number, local)) = indexed_key(&plan.bound, plan.number, row)?
            && let Some(kept) = self.translator.kept(&plan.bound, row)?
        {
            self.translator.identities.put(number, local, kept)?;
        }
        Ok(())
    }
}

/// What a row was called whose identity is NULL now.
struct Former {
    key: (TableNumber, i64),
    identity: Identity<'static>,
}

fn known<'a>(former: Option<&Former>) -> Option<Identity<'a>> {
    former.map(|former| former.identity.clone())
}
