//! The HTTP face of microserve: gateway, auth and ops as axum routers.
