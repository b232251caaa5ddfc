//! Zones, and where tenants and networks may be.

use andromede_model::{Residency, Zone};

use super::fields::{Fields, FromMessage};
use crate::v1;

impl FromMessage for Zone {
    type Message = v1::Zone;

    fn read(message: v1::Zone, fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.text("name", &message.name);
        let labels = fields.labels(message.labels);
        let jurisdiction = fields.text("jurisdiction", &message.jurisdiction);
        let operator = fields.text("operator", &message.operator);
        Some(Self {
            name: name?,
            jurisdiction: jurisdiction?,
            operator: operator?,
            index: message.index,
            revision: message.revision,
            labels: labels?,
        })
    }
}

impl From<Zone> for v1::Zone {
    fn from(zone: Zone) -> Self {
        Self {
            name: zone.name.into(),
            jurisdiction: zone.jurisdiction.into(),
            operator: zone.operator.into(),
            index: zone.index,
            revision: zone.revision,
            labels: zone.labels.into(),
            etag: String::new(),
        }
    }
}

impl FromMessage for Residency {
    type Message = v1::Residency;

    fn read(message: v1::Residency, fields: &mut Fields<'_>) -> Option<Self> {
        let jurisdictions = fields.texts("jurisdictions", &message.jurisdictions);
        let operators = fields.texts("operators", &message.operators);
        let zones = fields.texts("zones", &message.zones);
        // What was wrong is noted: nothing that is read of it is taken.
        Some(Self {
            jurisdictions: jurisdictions.into_iter().collect(),
            operators: operators.into_iter().collect(),
            zones: zones.into_iter().collect(),
        })
    }
}

/// A residency that says nothing is left out.
pub(super) fn residency_message(residency: Residency) -> Option<v1::Residency> {
    residency.is_bound().then(|| v1::Residency {
        jurisdictions: residency.jurisdictions.into_iter().map(Into::into).collect(),
        operators: residency.operators.into_iter().map(Into::into).collect(),
        zones: residency.zones.into_iter().map(Into::into).collect(),
    })
}
