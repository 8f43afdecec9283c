select
    devices.tenant_id,
    devices.device_id,
    state_rules.state,
    state_rules.metric,
    state_rules.figure,
    state_rules.comparison,
    state_rules.bound
from {{ source('registry', 'devices') }} as devices
inner join {{ source('registry', 'state_rules') }} as state_rules on devices.model_id = state_rules.model_id
