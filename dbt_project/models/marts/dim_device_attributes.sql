select tenant_id, device_id, attribute, value
from {{ source('registry', 'device_attributes') }}
