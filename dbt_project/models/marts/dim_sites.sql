select tenant_id, site_id, site_name, timezone, latitude, longitude
from {{ source('registry', 'sites') }}
